from pools.spec import Change, DiffLine, diff, diff_lines, parse_spec, to_yaml

RULE = {"task": "billing.*", "transient": ["OSError"]}
OLD = parse_spec({"queues": ["a", "b"], "workers": 2, "placement": {"zone": "eu"}, "retry": [RULE]})


def test_equal_specs_have_no_changes() -> None:
    assert diff(OLD, OLD) == []
    assert {line.kind for line in diff_lines(OLD, OLD)} == {" "}


def test_changes_name_the_field_and_both_values() -> None:
    new = parse_spec(
        OLD.as_dict()
        | {"queues": ["b", "a"], "workers": 0, "placement": {"disk": "ssd"}, "application": {"directory": "/srv"}}
        | {"retry": [RULE | {"max": 5}]}
    )
    assert diff(OLD, new) == [
        Change("queues", "a, b", "b, a"),
        Change("workers", "2", "0"),
        Change("placement.disk", None, "ssd"),
        Change("application.directory", "", "/srv"),
        Change("retry.0.max", "3", "5"),
        Change("placement.zone", "eu", None),
    ]


def test_rule_taken_out() -> None:
    changes = diff(OLD, parse_spec(OLD.as_dict() | {"retry": []}))
    assert {change.path.split(".")[0] for change in changes} == {"retry"}
    assert {change.after for change in changes} == {None}
    assert Change("retry.0.transient", "OSError", None) in changes


def test_first_version_is_all_new() -> None:
    changes = diff(None, OLD)
    assert {change.before for change in changes} == {None}
    assert Change("workers", None, "2") in changes
    assert {line.kind for line in diff_lines(None, OLD)} == {"+"}


def test_lines_show_the_change_where_it_is() -> None:
    new = parse_spec(OLD.as_dict() | {"workers": 4})
    lines = diff_lines(OLD, new)
    assert [line for line in lines if line.kind != " "] == [DiffLine("-", "workers: 2"), DiffLine("+", "workers: 4")]
    assert [line.text for line in lines if line.kind != "-"] == to_yaml(new).splitlines()
    assert [line.text for line in lines if line.kind != "+"] == to_yaml(OLD).splitlines()
