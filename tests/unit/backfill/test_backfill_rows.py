"""Files are read line by line, in bounded memory, and one bad line does not end the run."""

from __future__ import annotations

import io
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from daybook.backfill.loading import check_mapping
from daybook.backfill.mapping import Mapping
from daybook.backfill.rows import LINE_CHARACTERS_MAX, Row, Source, open_source
from daybook.errors import ConfigError


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
    assert rows[0].fault == "has 1 columns, the header has 2"
    assert "not CSV" in (rows[2].fault or "")
    assert rows[3].columns["id"] == "\udcff"
    assert [row.number for row in rows] == [2, 3, 4, 5, 6]


def test_an_unclosed_quote_is_one_faulty_row() -> None:
    """A quote that never ends swallows no memory without bound, and says which lines it took."""
    rows = rows_of(b'id,amount\n1,"1\n' + b"2,2\n" * 100_000)
    assert "lines 2 to" in (rows[0].fault or "")
    assert rows[-1].columns == {"id": "2", "amount": "2"}


@pytest.mark.parametrize("data_format", ["csv", "ndjson"])
def test_a_line_without_end_is_a_faulty_row(data_format: str) -> None:
    """A line longer than the bound is skipped, and the next one is read."""
    good = b"1,1\n" if data_format == "csv" else b'{"id": "1", "amount": "1"}\n'
    header = b"id,amount\n" if data_format == "csv" else b"\n"
    rows = rows_of(header + b"x" * (3 * LINE_CHARACTERS_MAX) + b"\n" + good, data_format)
    assert "longer than" in (rows[0].fault or "")
    assert (rows[1].number, rows[1].columns) == (3, {"id": "1", "amount": "1"})


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
        (b"id,id,amount\n", "names id more than once"),
        (b"id;amount\n1;1\n", "lacks amount, id.*delimiter"),
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
