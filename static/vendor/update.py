"""Rewrites the vendored files from npm packages: ``python static/vendor/update.py FOLDER``.

FOLDER holds the unpacked packages ``core`` (@tabler/core), ``icons-sprite`` (@tabler/icons-sprite) and ``uplot``,
for instance after ``npm pack @tabler/core@1.6.1`` and ``tar -xf``. Only the Python standard library is needed.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SYMBOL = re.compile(r'<symbol id="tabler-([a-z0-9-]+)".*?</symbol>')
# The transparent square that each icon begins with draws nothing.
FRAME = '<path stroke="none" d="M0 0h24v24H0z" fill="none" />'


def main(folder: Path) -> None:
    copy(folder / "core/dist/css/tabler.min.css", HERE / "tabler/tabler.min.css")
    copy(folder / "uplot/dist/uPlot.iife.min.js", HERE / "uplot/uPlot.iife.min.js")
    copy(folder / "uplot/dist/uPlot.min.css", HERE / "uplot/uPlot.min.css")
    copy(folder / "uplot/LICENSE", HERE / "uplot/LICENSE")
    copy(folder / "icons-sprite/LICENSE", HERE / "tabler-icons/LICENSE")
    subset_sprite(folder / "icons-sprite/dist/tabler-sprite.svg")
    for name in ("core", "icons-sprite", "uplot"):
        package = json.loads((folder / name / "package.json").read_text())
        print(f"{package['name']} {package['version']}, {package['license']}")


def copy(source: Path, target: Path) -> None:
    """Without the source map's address: the map is not vendored, and a link to nothing breaks hashed storages.

    Without images that lie in the sheet itself: our Content-Security-Policy refuses them, so ours take their places.
    """
    text = source.read_text()
    text = re.sub(r"\n?/\*# sourceMappingURL=.*?\*/", "", text)
    text = re.sub(r'url\("data:[^"]*"\)', "none", text)
    target.parent.mkdir(exist_ok=True)
    target.write_text(text.rstrip() + "\n")


def subset_sprite(source: Path) -> None:
    """Keeps the icons that ``icons.txt`` lists, one symbol a line, under their upstream names."""
    wanted = (HERE / "tabler-icons/icons.txt").read_text().split()
    symbols = {match[1]: match[0].replace(FRAME, "") for match in SYMBOL.finditer(source.read_text())}
    if missing := sorted(set(wanted) - set(symbols)):
        sys.exit(f"not in the sprite: {', '.join(missing)}")
    kept = "\n".join(symbols[name] for name in sorted(set(wanted)))
    target = HERE / "tabler-icons/sprite.svg"
    target.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" id="tabler-icons"><defs>\n{kept}\n</defs></svg>\n')


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
