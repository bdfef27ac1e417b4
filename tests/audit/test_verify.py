"""The offline verifier against everything that can be done to a log or to its bundle. Each is named in words."""

import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import merkle
from audit.anchors import FileAnchor
from audit.bundle import Disclosed
from audit.checkpoint import COSIGNATURE, Checkpoint, sign_note
from audit.verifier import Report, verify
from audit.verify import main
from tests.audit.logs import ORIGIN, SmallLog, log_bundle, part_bundle, sealed, signer, small_log

LOG = small_log(40)
KEY = signer().verifier
CHECKPOINTS = [8, 20, 33, 40]
GOOD = log_bundle(LOG, CHECKPOINTS)
PART = part_bundle(LOG, 40, [0, 7, 8, 25, 39], consistency=[8, 20])
WITNESS = signer("witness.test", COSIGNATURE, 7)
OTHER_WITNESS = signer("other.test", COSIGNATURE, 8)


def check(bundle: bytes, *, keys: tuple = (KEY,), **options: object) -> Report:
    return verify(io.BytesIO(bundle), keys, **options)  # type: ignore[arg-type]


def lines_of(bundle: bytes) -> list[bytes]:
    return bundle.splitlines(keepends=True)


def place(lines: list[bytes], index: int) -> int:
    """Where the L line of this index stands."""
    return [at for at, line in enumerate(lines) if line.startswith(b"L ")][index]


def refused(report: Report, sentence: str, first: int | None = None, last: int | None = None) -> None:
    """It is not good, for this reason, and the first bad index lies from first to last."""
    assert not report.ok
    assert re.search(sentence, report.sentence), report.sentence
    assert (report.first_bad, report.first_bad_at_most) == (first, first if last is None else last)


class TestAGoodBundle:
    def test_of_the_whole_log(self) -> None:
        report = check(GOOD)
        assert report.ok
        assert report.sentence == "The first 40 events of the log poolwarden/test are all here, as they were recorded."
        assert (report.events, report.size, report.root) == (40, 40, LOG.roots[40].hex())
        assert (report.checkpoints, report.first_bad, report.kind) == (4, None, "log")

    def test_of_a_part(self) -> None:
        report = check(PART)
        assert report.ok
        assert (report.events, report.size, report.kind) == (5, 40, "part")
        assert "none was left out" in report.notes[0]

    @pytest.mark.parametrize("size", [*range(1, 20), 255, 256, 257, 511, 512, 513, 700])
    def test_of_every_size(self, size: int) -> None:
        log = small_log(size)
        assert check(log_bundle(log, [size])).ok
        assert check(log_bundle(log, range(1, size + 1))).ok
        assert check(part_bundle(log, size, range(size))).ok

    def test_after_a_key_rotation(self) -> None:
        new = signer(seed=2)
        note = sign_note(Checkpoint(ORIGIN, 40, LOG.roots[40]).text, [new])
        lines = lines_of(GOOD)
        lines[-2] = b"C " + json.dumps(note.decode()).encode() + b"\n"
        bundle = sealed(lines)
        assert check(bundle, keys=(KEY, new.verifier)).ok
        refused(check(bundle), "is not signed by", 33, 39)

    def test_a_key_counts_for_its_own_log_alone(self) -> None:
        other = signer("poolwarden/other", seed=3)
        assert check(GOOD, keys=(other.verifier, KEY)).ok
        forged = log_bundle(SmallLog(LOG.leaves, other), [40])
        refused(check(forged, keys=(other.verifier, KEY)), "is not signed by poolwarden/test", 0, 39)

    def test_with_disclosed_values(self) -> None:
        salt = b"s" * 32
        opened = Disclosed("address", salt, "192.0.2.7")
        committed = hashlib.sha256(salt + b"192.0.2.7").hexdigest()
        log = SmallLog([b'{"personal":{}}', f'{{"personal":{{"address":"{committed}"}}}}'.encode(), b"{}"])
        assert check(log_bundle(log, [3], personal={1: [opened]})).ok
        for index, shown in [
            (1, opened._replace(value="192.0.2.8")),
            (1, opened._replace(salt=b"t" * 32)),
            (1, opened._replace(field="session")),
            (0, opened),
            (2, opened),
        ]:
            bundle = log_bundle(log, [3], personal={index: [shown]})
            refused(check(bundle), f"shown for event {index} is not what was recorded", index)


class TestWhoHasTheDatabase:
    """Changes rows, and exports. The key is out of reach, and so are the checkpoints that were signed before."""

    @pytest.mark.parametrize("index", [0, 5, 7, 8, 19, 32, 33, 39])
    def test_changes_a_byte(self, index: int) -> None:
        changed = SmallLog([*LOG.leaves[:index], LOG.leaves[index] + b" ", *LOG.leaves[index + 1 :]])
        refused(check(log_bundle(changed, CHECKPOINTS, stored=LOG)), f"Event {index} was changed", index)

    def test_changes_a_byte_and_the_stored_hash(self) -> None:
        lines = lines_of(GOOD)
        changed = small_log(40, branch=25)
        lines[place(lines, 25)] = b"L " + changed.leaves[25] + b"\n"
        at = next(at for at, line in enumerate(lines) if at > place(lines, 25) and line.startswith(b"N "))
        hints = [merkle.leaf_hash(line[2:-1]).hex()[:8] for line in lines[place(lines, 20) : at]]
        lines[at] = f"N {''.join(hints)}\n".encode()
        refused(check(sealed(lines)), "one of the events 20 to 32 is not as it was recorded", 20, 32)

    @pytest.mark.parametrize("first", [1, 8, 15, 20, 30, 39])
    def test_deletes_the_tail(self, first: int) -> None:
        bundle = log_bundle(LOG, CHECKPOINTS, without=range(first, 40))
        last = "Event 39 was" if first == 39 else f"Events {first} to 39 were"
        refused(check(bundle), f"{last} missing", first)

    def test_deletes_the_middle(self) -> None:
        refused(check(log_bundle(LOG, CHECKPOINTS, without={12, 13})), "Events 12 to 13 were missing", 12)

    def test_deletes_the_middle_and_closes_the_gap(self) -> None:
        """The rows behind move up, with their stored hashes."""
        moved = SmallLog([*LOG.leaves[:12], *LOG.leaves[13:]])
        bundle = log_bundle(moved, CHECKPOINTS, stored=LOG)
        refused(check(bundle), "at index 12 stands the event that belongs at 13", 12)

    def test_swaps_two(self) -> None:
        leaves = list(LOG.leaves)
        leaves[9], leaves[17] = leaves[17], leaves[9]
        bundle = log_bundle(SmallLog(leaves), CHECKPOINTS, stored=LOG)
        refused(check(bundle), "at index 9 stands the event that belongs at 17", 9)

    def test_inserts_one(self) -> None:
        bundle = log_bundle(
            SmallLog([*LOG.leaves[:12], b'{"event":"back-dated"}', *LOG.leaves[12:]]), CHECKPOINTS, stored=LOG
        )
        refused(check(bundle), "Event 12 was changed", 12)

    def test_deletes_the_newest_events_and_their_checkpoints(self) -> None:
        """What is left is a good bundle of a shorter log; a checkpoint kept elsewhere tells."""
        bundle = log_bundle(LOG, [8, 20])
        assert check(bundle).ok
        refused(check(bundle, since=[LOG.note(33)]), "had 33 events .* here it has 20", 20)

    def test_signs_again_with_a_key_of_the_same_name(self) -> None:
        bundle = log_bundle(small_log(40, branch=10, key=signer(seed=2)), CHECKPOINTS)
        refused(check(bundle), "checkpoint over 8 events is not good: .* is not signed by", 0, 7)


class TestWhoHasTheKeyToo:
    """Writes another history and signs it: the bundle alone looks good."""

    REWRITTEN = small_log(40, branch=25)

    def test_against_a_kept_checkpoint(self) -> None:
        bundle = log_bundle(self.REWRITTEN, CHECKPOINTS)
        assert check(bundle).ok
        report = check(bundle, since=[LOG.note(30)])
        refused(report, "does not continue the kept checkpoint over 30 events: one of the events 20 to 29", 20, 29)
        assert check(bundle, since=[LOG.note(25)]).ok

    def test_against_all_checkpoints_of_an_anchor(self) -> None:
        """The more of them were kept, the closer the place."""
        bundle = log_bundle(self.REWRITTEN, [40])
        report = check(bundle, since=[LOG.note(size) for size in (4, 24, 27, 31, 40)])
        refused(report, "one of the events 24 to 26", 24, 26)
        assert report.since == 24

    def test_a_changed_event_is_named_exactly_although_a_kept_checkpoint_fails_first(self) -> None:
        changed = SmallLog([*LOG.leaves[:25], b'{"other":25}', *LOG.leaves[26:]])
        bundle = log_bundle(changed, CHECKPOINTS, stored=LOG)
        refused(check(bundle, since=[LOG.note(30)]), "Event 25 was changed", 25)

    def test_against_a_witness(self) -> None:
        """It never signs the other history."""
        refused(
            check(log_bundle(self.REWRITTEN, CHECKPOINTS), witnesses=[WITNESS.verifier]),
            "over 40 events is not cosigned by witness.test",
            0,
            39,
        )

    def test_a_part_against_a_kept_checkpoint(self) -> None:
        part = part_bundle(self.REWRITTEN, 40, [3, 30], consistency=[20, 30])
        assert check(part).ok
        refused(check(part, since=[LOG.note(30)]), "does not continue the kept checkpoint over 30", 0, 29)
        refused(check(part, since=[LOG.note(40)]), "Another tree of 40 events was signed", 0)
        refused(check(part, since=[LOG.note(28)]), "no proof in it from the kept checkpoint")
        report = check(part, since=[LOG.note(20)])
        assert report.ok
        assert report.since == 20


class TestSince:
    def test_every_kept_checkpoint_is_compared(self) -> None:
        report = check(GOOD, since=[LOG.note(size) for size in (1, 20, 20, 21, 40)])
        assert report.ok
        assert report.since == 40

    def test_two_kept_checkpoints_that_contradict_each_other(self) -> None:
        refused(check(GOOD, since=[LOG.note(20), small_log(20, branch=3).note(20)]), "two over 20 .* different roots")

    def test_kept_checkpoints_are_verified_themselves(self) -> None:
        forged = small_log(40, key=signer(seed=2)).note(20)
        refused(check(GOOD, since=[forged]), "kept from earlier is not good: .* not signed by")
        refused(check(GOOD, since=[LOG.note(20), LOG.note(8)]), "do not ascend")
        refused(check(GOOD, since=[b"hello"]), "kept from earlier is not good")
        nothing = sign_note(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT).text, [signer()])
        refused(check(GOOD, since=[nothing]), "over no events")

    def test_a_part_older_than_the_kept_checkpoint(self) -> None:
        refused(check(part_bundle(LOG, 20, [3]), since=[LOG.note(33)]), "had 33 events", 20)

    def test_the_same_checkpoint_needs_no_proof(self) -> None:
        assert check(part_bundle(LOG, 20, [3]), since=[LOG.note(20)]).since == 20


class TestWitnesses:
    def bundle(self, *witnesses: object) -> bytes:
        return log_bundle(LOG, CHECKPOINTS, witnesses=witnesses)  # type: ignore[arg-type]

    def test_one_of_several_is_enough(self) -> None:
        report = check(self.bundle(WITNESS), witnesses=[OTHER_WITNESS.verifier, WITNESS.verifier])
        assert report.ok
        assert report.cosigned == {"witness.test": 1_700_000_000}

    def test_none(self) -> None:
        refused(check(GOOD, witnesses=[WITNESS.verifier]), "not cosigned by witness.test", 0, 39)
        refused(check(PART, witnesses=[WITNESS.verifier]), "not cosigned by witness.test", 0, 39)

    def test_another(self) -> None:
        refused(check(self.bundle(OTHER_WITNESS), witnesses=[WITNESS.verifier]), "not cosigned", 0, 39)

    def test_only_an_older_checkpoint_is_cosigned(self) -> None:
        lines = lines_of(self.bundle(WITNESS))
        lines[-2] = b"C " + json.dumps(LOG.note(40).decode(), ensure_ascii=False).encode() + b"\n"
        report = check(sealed(lines), witnesses=[WITNESS.verifier])
        refused(report, r"40 events is not cosigned by witness.test. The last that is covers 33", 33, 39)

    def test_a_cosignature_over_something_else(self) -> None:
        wrong = WITNESS.line(SmallLog(LOG.leaves).note(33).decode().split("\n\n")[0] + "\n", 5)
        lines = lines_of(GOOD)
        lines[-2] = b"C " + json.dumps(LOG.note(40).decode() + wrong, ensure_ascii=False).encode() + b"\n"
        assert check(sealed(lines)).ok, "a signature of somebody unknown is passed over"
        refused(check(sealed(lines), witnesses=[WITNESS.verifier]), "witness.test .* does not verify", 33, 39)

    def test_keys_are_not_taken_for_one_another(self) -> None:
        with pytest.raises(ValueError, match="log's key"):
            check(GOOD, keys=(WITNESS.verifier,))
        with pytest.raises(ValueError, match="witness's key"):
            check(GOOD, witnesses=[KEY])
        with pytest.raises(ValueError, match="log's key"):
            check(GOOD, keys=())


class TestWhoEditsTheFile:
    """And computes its last line again."""

    def edited(self, edit: Callable[[list[bytes]], object], bundle: bytes = GOOD) -> Report:
        lines = lines_of(bundle)
        edit(lines)
        return check(sealed(lines))

    def test_an_event_taken_out(self) -> None:
        for index in range(40):
            report = self.edited(lambda lines, index=index: lines.pop(place(lines, index)))
            refused(report, f"Event {index} is missing", index)

    def test_an_event_put_in(self) -> None:
        for index in range(40):
            report = self.edited(lambda lines, index=index: lines.insert(place(lines, index), b'L {"new":1}\n'))
            refused(report, f"Event {index} was put in", index)

    def test_an_event_twice(self) -> None:
        report = self.edited(lambda lines: lines.insert(place(lines, 12), lines[place(lines, 12)]))
        refused(report, "Event 1[23] was put in", 13)

    def test_two_events_swapped(self) -> None:
        def swap(lines: list[bytes]) -> None:
            a, b = place(lines, 10), place(lines, 14)
            lines[a], lines[b] = lines[b], lines[a]

        refused(self.edited(swap), "at index 10 stands the event that belongs at 14", 10)

    def test_hints_taken_out(self) -> None:
        def forge(lines: list[bytes]) -> None:
            lines[place(lines, 25)] = b'L {"new":1}\n'
            lines[:] = [line for line in lines if not line.startswith(b"N ")]

        refused(self.edited(forge), "checkpoint without the hints before it")

    def test_a_checkpoint_taken_out(self) -> None:
        """What it said is still in the later ones; only the newest is missed."""
        assert self.edited(lambda lines: lines.pop(place(lines, 20) - 1)).ok
        refused(self.edited(lambda lines: lines.pop(-2)), "Events from 33 on stand after the last checkpoint", 33)

    def test_a_checkpoint_elsewhere(self) -> None:
        def move(lines: list[bytes]) -> None:
            lines.insert(place(lines, 22), lines.pop(place(lines, 20) - 1))

        refused(
            self.edited(move), "checkpoint over 20 events stands after 23: events were put in, or it was moved", 8, 20
        )

    def test_a_checkpoint_twice(self) -> None:
        refused(self.edited(lambda lines: lines.insert(-2, lines[-2])), "second checkpoint over 40")

    def test_no_checkpoint_at_all(self) -> None:
        report = self.edited(lambda lines: lines.__setitem__(slice(None), [x for x in lines if x[:1] != b"C"]))
        refused(report, "no checkpoint in it", 0)

    def test_the_end_cut_off_at_a_checkpoint(self) -> None:
        def cut(lines: list[bytes]) -> None:
            del lines[place(lines, 33) : -1]

        refused(self.edited(cut), "head says 40 events, its last checkpoint 33", 33)

    @pytest.mark.parametrize(
        "line",
        [b"Z new kind\n", b"\n", b"hello\n", b"l {}\n", b"L\n", b"B poolwarden.bundle/1\n", b"I {}\n", b"K {}\n"],
    )
    def test_lines_of_an_unknown_kind(self, line: bytes) -> None:
        refused(self.edited(lambda lines: lines.insert(10, line)), "Line 11 has no place here")

    def test_a_second_head(self) -> None:
        refused(self.edited(lambda lines: lines.insert(2, lines[1])), "Line 3 has no place here: it begins with b'H '")

    def test_another_format(self) -> None:
        report = self.edited(lambda lines: lines.__setitem__(0, b"B poolwarden.bundle/2\n"))
        refused(report, "not a bundle, or one of another version")
        refused(check(b""), "cut short")
        refused(check(b"hello\n"), "not a bundle")

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            (b'"kind":"log"', b'"kind":"all"', "unknown kind"),
            (b'"kind":"log"', b'"kind":"part"', "line C"),
            (b'"size":40', b'"size":41', "head says 41"),
            (b'"size":40', b'"size":"40"', "line H"),
            (b'"size":40', b'"size":true', "line H"),
            (b'"size":40', b'"size":40,"size":40', "line H"),
            (b'"size":40', b'"size":40,"more":1', "line H"),
            (b'"origin":"poolwarden/test"', b'"origin":"poolwarden/other"', "of the log 'poolwarden/other'"),
        ],
    )
    def test_the_head(self, old: bytes, new: bytes, sentence: str) -> None:
        def edit(lines: list[bytes]) -> None:
            assert old in lines[1]
            lines[1] = lines[1].replace(old, new)

        assert re.search(sentence, self.edited(edit).sentence)

    @pytest.mark.parametrize("content", [b"", b"1", b"[]", b"[" * 100_000, b'"', b'"\\ud800"', b"1" * 5000, b"\xff"])
    @pytest.mark.parametrize("kind", [b"C ", b"P ", b"X ", b"N ", b"H ", b"I ", b"K "])
    def test_content_that_cannot_be_read(self, kind: bytes, content: bytes) -> None:
        assert not self.edited(lambda lines: lines.insert(5, kind + content + b"\n")).ok
        assert not self.edited(lambda lines: lines.insert(3, kind + content + b"\n"), PART).ok

    def test_a_line_without_end(self) -> None:
        refused(check(GOOD[: GOOD.index(b"L ")] + b"L " + b"x" * 9_000_000), "Line 3 is too long")

    def test_something_after_the_end(self) -> None:
        refused(check(GOOD + b"\n"), "Something follows the last line")

    def test_many_events_without_hints_or_checkpoint(self) -> None:
        lines = lines_of(log_bundle(small_log(600), [600]))
        refused(check(sealed(line for line in lines if line[:1] != b"N")), "too long after the last line N")


class TestWhoEditsAPart:
    def edited(self, edit: Callable[[list[bytes]], object]) -> Report:
        lines = lines_of(PART)
        edit(lines)
        return check(sealed(lines))

    def test_a_changed_event(self) -> None:
        report = self.edited(lambda lines: lines.__setitem__(place(lines, 3), b'L {"event":26}\n'))
        refused(report, "Event 25 is not as it was recorded", 25)

    def test_another_index(self) -> None:
        for index in range(26, 39):
            report = self.edited(
                lambda lines, index=index: lines.__setitem__(
                    place(lines, 3) - 1, lines[place(lines, 3) - 1].replace(b":25,", b":%d," % index)
                )
            )
            refused(report, f"Event {index} is not as it was recorded", index)

    def test_an_event_twice_or_out_of_order(self) -> None:
        def twice(lines: list[bytes]) -> None:
            at = place(lines, 2)
            lines[at + 1 : at + 1] = lines[at - 1 : at + 1]

        refused(self.edited(twice), "Event 8 stands after event 8", 8)

    def test_an_event_without_proof_and_a_proof_without_event(self) -> None:
        refused(self.edited(lambda lines: lines.pop(place(lines, 2) - 1)), "has no place here: it begins with b'L '")
        refused(self.edited(lambda lines: lines.pop(place(lines, 2))), "has no place here: it begins with b'I '")

    def test_a_consistency_proof_after_events_or_out_of_order(self) -> None:
        refused(self.edited(lambda lines: lines.insert(-1, lines[3])), "has no place here: it begins with b'K '")
        refused(self.edited(lambda lines: lines.insert(3, lines[4])), "has no place after one from 20")

    def test_two_checkpoints(self) -> None:
        refused(self.edited(lambda lines: lines.insert(3, lines[2])), "has no place here: it begins with b'C '")


def test_no_change_of_a_byte_goes_unnoticed() -> None:
    """Whatever byte it is, also of what proves nothing: the last line covers the whole file, and is exact itself."""
    log = small_log(9)
    for bundle in (log_bundle(log, [4, 9], witnesses=[WITNESS]), part_bundle(log, 9, [2, 8], consistency=[5])):
        assert check(bundle, witnesses=[WITNESS.verifier] if b"witness.test" in bundle else []).ok
        for at in range(len(bundle)):
            for bit in range(8):
                changed = bytearray(bundle)
                changed[at] ^= 1 << bit
                assert not check(bytes(changed)).ok, (at, bit)


def test_no_cut_goes_unnoticed() -> None:
    for bundle in (GOOD, PART):
        for end in range(len(bundle)):
            assert not check(bundle[:end]).ok
    refused(check(GOOD[: GOOD.index(b'L {"event":23}') + 4]), "cut short: it ends in line .* after 23 events", 23)


def test_random_edits_never_pass_and_never_crash() -> None:
    """Lines and bytes moved, doubled, removed and made up, with a last line that fits."""
    chance = random.Random(20261122)
    allowed = {line for bundle in (GOOD, PART) for line in lines_of(bundle)}
    for _ in range(1500):
        lines = lines_of(chance.choice([GOOD, PART]))
        before = list(lines)
        for _ in range(chance.randint(1, 3)):
            at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
            match chance.randrange(4):
                case 0:
                    lines[at], lines[to] = lines[to], lines[at]
                case 1:
                    lines.insert(at, lines[to])
                case 2:
                    lines[at] = chance.choice(sorted(allowed))
                case _:
                    cut = chance.randrange(len(lines[at]) + 1)
                    lines[at] = lines[at][:cut] + chance.randbytes(3) + lines[at][cut:]
        events = [line for line in lines if line[:1] == b"L"]
        if events != [line for line in before if line[:1] == b"L"]:
            assert not check(sealed(lines)).ok
        else:
            check(sealed(lines))


class TestTheCommand:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        (tmp_path / "bundle").write_bytes(log_bundle(LOG, CHECKPOINTS, witnesses=[WITNESS]))
        (tmp_path / "key").write_text(f"# production\n\n{KEY}\n{signer(seed=2).verifier}\n{KEY}\n")
        (tmp_path / "witness").write_text(f"{OTHER_WITNESS.verifier}\n{WITNESS.verifier}\n")
        (tmp_path / "note").write_bytes(LOG.note(20))
        anchor = FileAnchor(tmp_path / "anchor")
        for size in (3, 20, 33):
            anchor.put(LOG.note(size), size)
        return tmp_path

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "audit.verify", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=Path(__file__).parents[2],
        )

    def test_a_good_bundle(self, files: Path) -> None:
        done = self.run(
            files / "bundle", "--key", files / "key", "--witness", files / "witness", "--since", files / "anchor"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "verified: The first 40 events of the log poolwarden/test are all here, as they were recorded.",
            f"checkpoint: 40 events, root {LOG.roots[40].hex()}",
            "cosigned by witness.test at 2023-11-14T22:13:20Z",
            "continues the kept checkpoint over 33 events",
        ]

    def test_a_bad_bundle(self, files: Path) -> None:
        changed = SmallLog([*LOG.leaves[:12], b"{}", *LOG.leaves[13:]])
        (files / "bundle").write_bytes(log_bundle(changed, CHECKPOINTS, stored=LOG))
        done = self.run(files / "bundle", "--key", files / "key")
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.splitlines()[:2] == [
            "NOT VERIFIED: Event 12 was changed: its bytes do not have the hash that the log stored for it.",
            "first bad index: 12",
        ]

    def test_json(self, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(files / "bundle"), "--key", str(files / "key"), "--json"]) == 0
        good = json.loads(capsys.readouterr().out)
        assert (good["ok"], good["events"], good["first_bad"]) == (True, 40, None)
        (files / "bundle").write_bytes(GOOD[:-100])
        assert main([str(files / "bundle"), "--key", str(files / "key"), "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["ok"] is False

    def test_since_takes_a_note_too(self, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
        common = [str(files / "bundle"), "--key", str(files / "key"), "--since"]
        assert main([*common, str(files / "note")]) == 0
        assert "continues the kept checkpoint over 20 events" in capsys.readouterr().out
        (files / "note").write_bytes(small_log(40, branch=4).note(20))
        assert main([*common, str(files / "note")]) == 1
        assert "first bad index: from 8 to 19" in capsys.readouterr().out

    def test_half_a_line_at_the_end_of_an_anchors_file(self, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with (files / "anchor").open("ab") as file:
            file.write(b'"poolward')
        assert main([str(files / "bundle"), "--key", str(files / "key"), "--since", str(files / "anchor")]) == 0
        (files / "anchor").write_bytes(b'"poolward')
        assert main([str(files / "bundle"), "--key", str(files / "key"), "--since", str(files / "anchor")]) == 2
        assert "holds no checkpoint" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "required"),
            (["bundle"], "--key"),
            (["nothing", "--key", "key"], "Cannot read .*nothing: No such file"),
            (["bundle", "--key", "nothing"], "Cannot read .*nothing: No such file"),
            (["bundle", "--key", "."], "Cannot read"),
            (["bundle", "--key", "note"], "note holds no verifier key"),
            (["bundle", "--key", "witness"], "is not the log's key"),
            (["bundle", "--key", "key", "--witness", "key"], "is not a witness's key"),
            (["bundle", "--key", "key", "--since", "nothing"], "Cannot read .*nothing"),
        ],
    )
    def test_what_cannot_be_used(self, files: Path, arguments: list[str], sentence: str) -> None:
        done = self.run(*[argument if argument.startswith("--") else files / argument for argument in arguments])
        assert done.returncode == 2
        assert done.stdout == ""
        assert re.search(sentence, done.stderr)
        assert "Traceback" not in done.stderr

    def test_neither_django_nor_the_network_is_loaded(self, files: Path) -> None:
        script = (
            "import sys; from audit.verify import main; "
            f"assert main([{str(files / 'bundle')!r}, '--key', {str(files / 'key')!r}]) == 0; "
            "print([name for name in ('django', 'socket', 'rfc8785', 'controlplane') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2]
        )
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_long_log_takes_constant_memory(tmp_path: Path) -> None:
    """Peak memory of Python's objects while 60,000 events stream by; the file has several megabytes."""
    path = tmp_path / "bundle"
    path.write_bytes(log_bundle(small_log(60_000), range(500, 60_001, 500)))
    assert path.stat().st_size > 1_500_000
    tracemalloc.start()
    try:
        with path.open("rb") as stream:
            assert verify(stream, [KEY]).ok
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_note_of_a_size_beyond_everything() -> None:
    huge = sign_note(Checkpoint(ORIGIN, 10**18, LOG.roots[40]).text, [signer()])
    lines = lines_of(GOOD)
    lines[-2] = b"C " + json.dumps(huge.decode(), ensure_ascii=False).encode() + b"\n"
    refused(check(sealed(lines)), "taken out", 33, 40)
