"""The rejects file keeps the lines as they were, and can be read again."""

from __future__ import annotations

import io
import json
import os
import tomllib
from pathlib import Path

import pytest

from daybook.backfill import LineBuilder, Reject, RequestLines, Row, Source
from daybook.backfill.checks import Checks
from daybook.backfill.lines import REJECTED, Line
from daybook.backfill.loading import check_mapping
from daybook.backfill.rejects import RejectsFile, default_rejects_path
from daybook.errors import ConfigError

MAPPING_TEXT = """
        [csv]
        delimiter = ";"
        encoding = "cp1250"
        [transaction]
        reference = "{reference}"
        source = "@World"
        destination = "@F"
        currency = "CZK"
        amount = "{amount}"
        precision = 100
        """
MAPPING = check_mapping(tomllib.loads(MAPPING_TEXT))
FILE = 'reference;amount;note\n1;5.00;good\n2;zero;"žlutý; kůň"\n3;1\n'


def rejects_of(path: Path, source: Source) -> None:
    file = RejectsFile(path, "file", source)
    for line in judged(source):
        if isinstance(line, Reject):
            file.add(line)
    file.close()


def judged(source: Source) -> list[Line | Reject]:
    builder = LineBuilder(source.mapping) if source.mapping else RequestLines()
    return list(Checks().judged(builder.lines(source)))


def source_of(content: bytes) -> Source:
    return Source(io.BytesIO(content), MAPPING, "csv")


def test_a_csv_keeps_its_columns_and_its_dialect(tmp_path: Path) -> None:
    """Corrected where it is wrong, the file of rejects is read by the same mapping."""
    path = tmp_path / "f.rejects.csv"
    rejects_of(path, source_of(FILE.encode("cp1250")))
    header, first, second = path.read_text("cp1250").splitlines()
    assert header == (
        "rejected_line;rejected_code;rejected_reason;rejected_reference;reference;amount;note"
    )
    assert first.startswith("3;invalid_amount;")
    assert first.endswith(';2;2;zero;"žlutý; kůň"')
    assert second.endswith(";;3;1")
    mended = "\n".join([header, first.replace("zero", "7.00")])
    (line,) = LineBuilder(MAPPING).lines(source_of(mended.encode("cp1250")))
    assert not isinstance(line, Reject)
    assert line.reference == "2"


def refused_again(path: Path, content: bytes) -> list[str]:
    """The lines of the rejects file of a rejects file."""
    rejects_of(path, source_of(content))
    return path.read_text("cp1250").splitlines()


def test_rejects_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    """The ledger's come later than those found before the log: posted again, dates would lie."""
    file = RejectsFile(tmp_path / "r.csv", "file", source_of(FILE.encode("cp1250")))
    for number in (12, 3, 3, 11):
        file.add(Reject(Row(number, {}, None, [f"{number}", "1", ""]), "malformed", "why", None))
    assert file.count == 4
    file.close()
    _, *told = (tmp_path / "r.csv").read_text().splitlines()
    assert [line.partition(";")[0] for line in told] == ["3", "3", "11", "12"]


def test_a_rejects_file_that_is_refused_again(tmp_path: Path) -> None:
    """Its own columns are replaced, in a CSV and among members."""
    path = tmp_path / "f.rejects.csv"
    rejects_of(path, source_of(FILE.encode("cp1250")))
    once = path.read_text("cp1250").splitlines()
    again = refused_again(tmp_path / "again.csv", path.read_bytes())
    assert again[0] == once[0]
    assert [line.partition(";")[0] for line in again[1:]] == ["2", "3"]
    assert [line.split(";")[4:] for line in again] == [line.split(";")[4:] for line in once]
    rejects_of(tmp_path / "again.ndjson", source_of(path.read_bytes()))
    told = [json.loads(line) for line in (tmp_path / "again.ndjson").read_text().splitlines()]
    assert list(told[0]) == [*REJECTED, "reference", "amount", "note"]
    assert told[1]["rejected_content"] == ["3", "1"]


def test_cells_of_any_kind_are_read_again(tmp_path: Path) -> None:
    """The bytes of another encoding as they were, all line feeds, the separator of the file."""
    path = tmp_path / "f.rejects.csv"
    text = MAPPING_TEXT.replace('delimiter = ";"', "").replace("cp1250", "utf-8")
    mapping = check_mapping(tomllib.loads(text))
    content = 'sep=;\nreference;amount;note\nMüller;…;"a\rb"\n'.encode("cp1250")
    rejects_of(path, Source(io.BytesIO(content), mapping, "csv"))
    other = check_mapping(tomllib.loads(text.replace("utf-8", "cp1250")))
    (row,) = Source(io.BytesIO(path.read_bytes()), other, "csv")
    cells = dict(row.columns)
    assert cells.pop("rejected_line") == "3"
    assert (cells["reference"], cells["amount"], cells["note"]) == ("Müller", "…", "a\rb")
    again = RejectsFile(path, "file", Source(io.BytesIO(content), mapping, "csv"))
    again.close()
    assert not path.exists()


def test_ndjson_keeps_the_members(tmp_path: Path) -> None:
    """Those of a CSV by name, a line of JSON to the last digit, and what is none as its text."""
    path = tmp_path / "r.ndjson"
    rejects_of(path, source_of(FILE.encode("cp1250")))
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [reject["rejected_line"] for reject in told] == [3, 4]
    columns = {name: text for name, text in told[0].items() if name not in REJECTED}
    assert columns == {"reference": "2", "amount": "zero", "note": "žlutý; kůň"}
    assert told[1]["rejected_content"] == ["3", "1"]
    lines = b'{"reference": "a", "amount": 1.000000000000000000001}\n{"a": 1, "a": 2}\n'
    rejects_of(path, Source(io.BytesIO(lines), None, "ndjson"))
    first, second = path.read_text().splitlines()
    assert first.endswith(', "reference": "a", "amount": 1.000000000000000000001}')
    assert json.loads(second)["rejected_content"] == '{"a": 1, "a": 2}'


def test_a_line_of_json_is_posted_again(tmp_path: Path) -> None:
    """What a rejects file adds is none of a request, and is replaced when it is refused again."""
    path = tmp_path / "r.ndjson"
    request = (
        '{"reference": "a\\" {", "source": "@World", "destination": "@Cash", "currency": "USD", '
        '"precision": 100, "amount": %s}'
    )
    lines = "\n".join((request % "0.001", "{}", '{"rejected_line":7}')).encode()
    rejects_of(path, Source(io.BytesIO(lines), None, "ndjson"))
    once = path.read_text()
    mixed = [json.dumps(json.loads(line), sort_keys=True) for line in once.splitlines()]
    for text in (once.replace('": ', '":'), once, "\n".join(mixed)):  # as other tools write JSON
        again = text.encode()
        rejects_of(path, Source(io.BytesIO(again), None, "ndjson"))
        told = [json.loads(line) for line in path.read_text().splitlines()]
        assert [list(reject)[:4] for reject in told] == [list(REJECTED)] * 3
        assert [len(reject) - 4 for reject in told] == [6, 0, 0]
    corrected = once.splitlines()[0].replace("0.001", "0.01").encode()
    (line,) = RequestLines().lines(Source(io.BytesIO(corrected), None, "ndjson"))
    assert isinstance(line, Line)
    assert line.reference == 'a" {'


def test_what_was_no_json_stays_what_it_was(tmp_path: Path) -> None:
    """Posted again as it stands, it is told so, and it is not wrapped once more."""
    path = tmp_path / "r.ndjson"
    rejects_of(path, Source(io.BytesIO(b'{"a": 1\n{\n'), None, "ndjson"))
    once = [json.loads(line) for line in path.read_text().splitlines()]
    assert "jq -c" in once[1]["rejected_reason"]
    rejects_of(path, Source(io.BytesIO(path.read_bytes()), None, "ndjson"))
    again = [json.loads(line) for line in path.read_text().splitlines()]
    for line in again:
        assert "still stands in rejected_content" in line["rejected_reason"]
    said = [line["rejected_content"] for line in again]
    assert said == [line["rejected_content"] for line in once] == ['{"a": 1', "{"]


def test_a_reference_that_was_to_be_changed_is_asked_for_again(tmp_path: Path) -> None:
    """Posted as it is, the second coffee would be taken for the first, and be lost."""
    path = tmp_path / "r.csv"
    text = "reference;amount;note\n1;5.00;\n1;5.00;\n"
    rejects_of(path, source_of(text.encode()))
    assert "reference_conflict" in path.read_text()
    (refused,) = judged(source_of(path.read_bytes()))
    assert isinstance(refused, Reject)
    assert "1 is still that of another line; give it its own" in refused.reason
    header, line = path.read_text().splitlines()
    (mended,) = judged(source_of(f"{header}\n{line.replace(';1;5.00', ';1b;5.00')}".encode()))
    assert isinstance(mended, Line)


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    """NDJSON that begins with a line number is somebody's own."""
    path = tmp_path / "r.ndjson"
    path.write_text('{"line": 1, "text": "mine"}\n')
    with pytest.raises(ConfigError, match="is not a rejects file"):
        RejectsFile(path, "file", source_of(FILE.encode("cp1250")))


def test_it_stands_beside_the_file_or_where_it_is_told(tmp_path: Path) -> None:
    """A folder that can't be written is told before anything is posted."""
    assert default_rejects_path("/data/sales.csv.gz", "csv") == Path(
        "/data/sales.csv.gz.rejects.csv"
    )
    assert default_rejects_path("-", "ndjson") == Path("stdin.rejects.ndjson")
    path = tmp_path / "other.csv"
    path.write_text("id,amount\n")
    with pytest.raises(ConfigError, match="is not a rejects file of file: name another --rejects"):
        RejectsFile(path, "file", source_of(FILE.encode("cp1250")))
    path.unlink()
    rejects_of(path, source_of(FILE.encode("cp1250")))
    with pytest.raises(ConfigError, match="is the file that is read: name another --rejects"):
        RejectsFile(path, str(path), source_of(path.read_bytes()))
    assert path.exists()
    with pytest.raises(ConfigError, match="is not a folder: name another --rejects"):
        RejectsFile(tmp_path / "none" / "r.csv", "file", source_of(FILE.encode("cp1250")))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a rejects file of file: name another --rejects"):
        RejectsFile(tmp_path / "pipe", "file", source_of(FILE.encode("cp1250")))
    if os.geteuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(ConfigError, match=r"cannot be written: .*; name another --rejects"):
            RejectsFile(tmp_path / "r.csv", "file", source_of(FILE.encode("cp1250")))
        tmp_path.chmod(0o700)
