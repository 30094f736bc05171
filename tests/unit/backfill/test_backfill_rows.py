"""Files are read line by line, in bounded memory, and one bad line does not end the run."""

from __future__ import annotations

import gzip
import io
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from daybook.backfill import LineBuilder, dry_run
from daybook.backfill.loading import check_mapping, load_mapping
from daybook.backfill.mapping import Mapping
from daybook.backfill.rows import LINE_CHARACTERS_MAX, Row
from daybook.backfill.source import Source, open_source
from daybook.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"


def mapping_of(csv: str = "") -> Mapping:
    return check_mapping(
        tomllib.loads(
            f"""
            [csv]
            {csv}
            [transaction]
            reference = "{{id}}"
            source = "@A"
            destination = "@B"
            currency = "EUR"
            amount = "{{amount}}"
            precision = 100
            """
        )
    )


def rows_of(content: bytes, data_format: str = "csv", csv: str = "") -> list[Row]:
    return list(Source(io.BytesIO(content), mapping_of(csv), data_format))


def test_csv_rows_keep_text_and_line_numbers() -> None:
    """Quotes, line ends inside quotes and blank lines: a record is numbered by its first line."""
    rows = rows_of(b'id,amount,note\r\n1,1.0,"a\r\nb"\r\n\r\n2,02.50,"say ""hi"""\r\n3,3,')
    assert [(row.number, row.columns) for row in rows] == [
        (2, {"id": "1", "amount": "1.0", "note": "a\r\nb"}),
        (5, {"id": "2", "amount": "02.50", "note": 'say "hi"'}),
        (6, {"id": "3", "amount": "3", "note": ""}),
    ]


@pytest.mark.parametrize(
    ("content", "csv"),
    [
        (b"\xef\xbb\xbfid,amount\n\xc3\xa9,1\n", ""),
        ("id;amount\n'é';1\n".encode("cp1252"), "delimiter=';'\nquote=\"'\"\nencoding='cp1252'"),
        ("id\tamount\né\t1\n".encode("utf-16"), "delimiter='\t'\nencoding='utf-16'"),
        ("é,1\n".encode(), "columns = ['id', 'amount']"),
    ],
)
def test_csv_dialects(content: bytes, csv: str) -> None:
    """Byte order mark, delimiter, quote, encoding and files without a header line."""
    (row,) = rows_of(content, csv=csv)
    assert row.columns == {"id": "é", "amount": "1"}


def test_a_broken_csv_line_is_a_faulty_row() -> None:
    """Too few columns, too many, stray quotes and bytes that are no text spare the other lines."""
    rows = rows_of(b'id,amount\n1\n2,2,2\n"3"x,3\n\xff,4\n5,5\n')
    assert [row.fault is None for row in rows] == [False, False, False, True, True]
    assert rows[0].fault == "has 1 column, the header has 2"
    assert "not CSV" in (rows[2].fault or "")
    assert rows[3].columns["id"] == "\udcff"
    assert [row.number for row in rows] == [2, 3, 4, 5, 6]


def test_an_unclosed_quote_ends_the_run() -> None:
    """A quote that never ends swallows no memory without bound, says which lines it took, and lets
    nothing within a cell be a row."""
    with pytest.raises(ConfigError, match=r"lines 2 to .* is a quote missing"):
        rows_of(b'id,amount\n1,"1\n' + b"2,2\n" * 100_000)


@pytest.mark.parametrize("data_format", ["csv", "ndjson"])
def test_a_line_without_end_is_a_faulty_row(data_format: str) -> None:
    """A line longer than the bound is skipped, and the next one is read."""
    good = b"1,1\n" if data_format == "csv" else b'{"id": "1", "amount": "1"}\n'
    header = b"id,amount\n" if data_format == "csv" else b"\n"
    rows = rows_of(header + b"x" * (3 * LINE_CHARACTERS_MAX) + b"\n" + good, data_format)
    assert "longer than" in (rows[0].fault or "")
    assert (rows[1].number, rows[1].columns) == (3, {"id": "1", "amount": "1"})


def test_a_cell_with_a_line_that_is_cut_is_refused() -> None:
    """Also when further lines of the cell follow."""
    long = b"x" * (LINE_CHARACTERS_MAX + 1)
    cut, right = rows_of(b'id,amount\n1,"begin\n' + long + b'\nend"\n3,4\n')
    assert "longer than" in (cut.fault or "")
    assert right.columns == {"id": "3", "amount": "4"}


def test_ndjson_numbers_are_exact() -> None:
    """Fractions become Decimal, integers stay integers of any size."""
    (row,) = rows_of(b'{"id": 123456789012345678901234567890, "amount": 0.10}\n', "ndjson")
    assert row.columns == {"id": 123456789012345678901234567890, "amount": Decimal("0.10")}


def test_a_broken_json_line_is_a_faulty_row() -> None:
    """No JSON, no object, too deep, not a number: each is refused alone."""
    lines = [b"{", b"[1]", b"[" * 100_000, b'{"id": NaN}', b'{"id": 1}', b"\xff", b"7"]
    rows = rows_of(b"\n".join(lines), "ndjson")
    assert [row.number for row in rows if row.fault is None] == [5]
    assert len(rows) == len(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header line"),
        (b"id,id,amount\n", "has id more than once"),
        (b"id;amount\n1;1\n", "lacks amount .*, id.*delimiter"),
    ],
)
def test_a_header_that_does_not_fit_is_an_error(content: bytes, said: str) -> None:
    """Columns that the mapping names and the header lacks are found before the first line."""
    with pytest.raises(ConfigError, match=said):
        Source(io.BytesIO(content), mapping_of(), "csv")


def test_columns_that_no_json_line_has_are_known_in_the_end() -> None:
    """A misspelt column of NDJSON, which has no header, is found after the last line."""
    source = Source(io.BytesIO(b'{"id": 1}\n{"id": 2}\n'), mapping_of(), "ndjson")
    assert len(list(source)) == 2
    assert source.unseen == {"amount"}


def test_a_file_is_streamed() -> None:
    """Reading the first row of a large file does not read the rest."""
    content = io.BytesIO(b"id,amount\n" + b"1,1\n" * 1_000_000)
    source = Source(content, mapping_of(), "csv")
    next(iter(source))
    assert source.bytes_read < 100_000


def test_the_format_follows_from_the_ending(tmp_path: Path) -> None:
    """.ndjson is read as NDJSON; an unknown ending asks for --format; sizes are known."""
    path = tmp_path / "a.ndjson"
    path.write_text('{"id": 1, "amount": 2}\n')
    with open_source(str(path), mapping_of()) as source:
        assert (source.data_format, source.bytes_total) == ("ndjson", 23)
    for name in ("a.dat", "-"):
        with pytest.raises(ConfigError, match="--format"), open_source(name, mapping_of()):
            pass
    with (
        pytest.raises(ConfigError, match="cannot be read"),
        open_source(str(tmp_path / "none.csv"), mapping_of()),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "csv"),
    [
        (b"sep=;\nid;amount\n7;1\n", ""),
        (b'"sep=;"\r\nid;amount\r\n7;1\r\n', "skip = 1"),
        (b"sep=;\nid,amount\n7,1\n", "delimiter = ','"),
        (b"Statement of May\n\nid,amount\n7,1\n", "skip = 2"),
        (b"a,b\n7,1\n", "skip = 1\ncolumns = ['id', 'amount']"),
        (b"id ,\xef\xbb\xbf amount\n7,1\n", ""),
        ("id,amount\n7,1\n".encode("utf-16"), "encoding = 'utf-16'"),
        (gzip.compress(b"id,amount\n7,1\n", mtime=0), ""),
        (gzip.compress("id,amount\n7,1\n".encode("utf-16"), mtime=0), "encoding = 'utf-16'"),
    ],
)
def test_what_stands_before_the_first_record(content: bytes, csv: str) -> None:
    """Excel's line with the separator, titles, blanks in names, UTF-16, gzip."""
    (row,) = rows_of(content, csv=csv)
    assert row.columns == {"id": "7", "amount": "1"}
    assert row.content == ["7", "1"]


def test_only_columns_that_are_named_must_have_one_name() -> None:
    """Empty names and names that are there twice are no matter where the mapping has no use."""
    (row,) = rows_of(b"id,,note,note,amount,\n7,x,y,z,1,\n")
    assert (row.columns["id"], row.columns["amount"]) == ("7", "1")
    assert row.content == ["7", "x", "y", "z", "1", ""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,amount\n".encode("utf-16"), 'write encoding = "utf-16" into \\[csv\\]'),
        (
            "id,größe\n".encode("cp1252"),
            r'lacks amount, .* has "gr\\xf6\\xdfe", which is no text in utf-8: .* = "cp1252" or',
        ),
        (b"id,Ammount\n", r"lacks amount \(did you mean Ammount\?\)"),
        (b"ID,amount\n", r"lacks id \(did you mean ID\?\)"),
        (gzip.compress(b"id,amount\n", mtime=0)[:12], "Compressed file ended"),
    ],
)
def test_a_file_that_needs_a_word_says_which(content: bytes, said: str, tmp_path: Path) -> None:
    """Another encoding, a column spelt otherwise, a broken archive: before the first line."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said), open_source(str(path), mapping_of()):
        pass


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_says_its_encoding_is_not_read_in_another(encoding: str) -> None:
    """Every byte is a letter in latin-1, so José would be another customer, unnoticed."""
    content = "note,id,amount\nx,José,1\n".encode(encoding)
    said = f'write encoding = "{encoding.removesuffix("-sig")}" into'
    with pytest.raises(ConfigError, match=said):
        rows_of(content, csv='encoding = "latin-1"')


def test_an_archive_that_breaks_off_ends_the_run(tmp_path: Path) -> None:
    """What came before is read; then an error says behind which line."""
    path = tmp_path / "a.csv.gz"
    content = b"id,amount\n" + b"".join(b"%d,1\n" % place**9 for place in range(20_000))
    path.write_bytes(gzip.compress(content)[:-20])
    with open_source(str(path), mapping_of()) as source:
        rows = iter(source)
        assert next(rows).number == 2
        with pytest.raises(ConfigError, match=r"what follows line \d+ cannot be unpacked"):
            list(rows)


def test_a_mapping_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    path = tmp_path / "m.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (EXAMPLES / "bank-csv.toml").read_bytes())
    assert load_mapping(path).columns()


def test_cells_that_swallow_lines_are_named() -> None:
    """Two quotes that don't belong together make one cell of a whole line; also in the header."""
    content = b'id,amount,"no\nte"\n1,1,"a\n2,2,b"\n3,3,c\n4,"4\r5,5"\n' + b'6,6,"\n"\n' * 12
    source = Source(io.BytesIO(content), mapping_of(), "csv")
    rows = list(source)
    assert rows[0].columns["no te"] == "a\n2,2,b"
    assert rows[2].fault == "has 2 columns, the header has 3 (lines 6 to 7)"
    assert (source.spans.count, source.spans.first[:4]) == (15, [(1, 2), (3, 4), (6, 7), (8, 9)])
    assert str(source.spans).endswith("18 to 19, 20 to 21, and more")
    *_, summary = dry_run(rows, LineBuilder(mapping_of()), lambda reject: None)
    summary.refused_before_log.clear()
    assert not summary.is_in_doubt
    summary.spans = source.spans
    assert summary.is_in_doubt
    (said,) = (remark for remark in summary.remarks() if "line feeds" in remark)
    assert said.startswith("15 rows with line feeds in a cell: lines 1 to 2, 3 to 4, 6 to 7")
    assert "write line_feeds = true into [csv]" in said
    expected = Source(io.BytesIO(content), mapping_of("line_feeds = true"), "csv")
    assert len(list(expected)) == len(rows)
    assert expected.spans.count == 0
