"""Every feature of `google.api.http`, on a contract that the gateway has never seen."""

from typing import Any

import pytest
from google.protobuf import duration_pb2, empty_pb2, field_mask_pb2, timestamp_pb2, wrappers_pb2

from tests import gateways
from tests.gateways import Gallery, Gateway
from tests.gateways import gallery_pb2 as pb


@pytest.fixture
def gallery(served: tuple[Gateway, Gallery]) -> Gallery:
    served[1].answer = pb.Painting(id="1", title="Marine", etag="7")
    served[1].refusal = None
    served[1].received.clear()
    served[1].metadata.clear()
    return served[1]


async def test_a_path_variable_fills_its_field(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.get("/v1/paintings/4711")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "1", "title": "Marine", "tags": [], "etag": "7", "currency": "",
    }  # fmt: skip
    assert gallery.received == [pb.GetPaintingRequest(id="4711")]


async def test_an_additional_binding_reaches_the_same_method_with_nested_variables(
    gateway: Gateway, gallery: Gallery
) -> None:
    await gateway.http.get("/v1/artists/a%2Fb%20c/paintings/1")
    assert gallery.received == [pb.GetPaintingRequest(id="1", artist=pb.Artist(id="a/b c"))]


async def test_a_literal_wins_over_a_variable(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.get("/v1/paintings/newest")
    await gateway.http.get("/v1/p%61intings/newest")
    assert gallery.received == [empty_pb2.Empty(), empty_pb2.Empty()]


async def test_a_custom_verb_is_not_part_of_the_variable(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.post("/v1/paintings/1:restore", json={"comment": "clean"})
    await gateway.http.get("/v1/paintings/1:other")
    await gateway.http.get("/v1/paintings:search?text=sea")
    assert gallery.received == [
        pb.RestorePaintingRequest(id="1", comment="clean"),
        pb.GetPaintingRequest(id="1:other"),
        pb.SearchRequest(text="sea"),
    ]


async def test_a_body_may_be_left_out_where_it_is_the_whole_request(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.post("/v1/paintings/1:restore")
    assert gallery.received == [pb.RestorePaintingRequest(id="1")]


async def test_a_variable_of_several_segments_keeps_its_slashes(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.get("/v1/rooms/a%2Fb/walls/2%203")
    await gateway.http.get("/v1/files/a/b/c")
    await gateway.http.get("/v1/files/a/b:download")
    await gateway.http.get("/v1/files")
    assert gallery.received == [
        pb.NameRequest(name="rooms/a%2Fb/walls/2 3"),
        pb.NameRequest(name="a/b/c"),
        pb.NameRequest(name="a/b"),
        pb.NameRequest(name=""),
    ]


async def test_a_query_reaches_fields_of_every_kind_in_either_spelling(gateway: Gateway, gallery: Gallery) -> None:
    query = (
        "text=a+b%26c&styles=OIL&styles=WATER_COLOUR&tags=x&tags=&artist.fullName=Ren%C3%A9&artist.id=7"
        "&created_from=2024-01-31T12:00:00.5%2B05:00&age=1.5s&fields=fullName,artist.id&framed=false&sold=true"
        "&pageSize=10&minWidth=1e2&fingerprint=_-8&minPrice=12.5&currency=USD"
    )
    answer = await gateway.http.get(f"/v1/paintings:search?{query}")
    assert answer.status_code == 200, answer.text
    assert gallery.received == [
        pb.SearchRequest(
            text="a b&c",
            styles=[pb.PAINTING_STYLE_OIL, pb.PAINTING_STYLE_WATER_COLOUR],
            tags=["x", ""],
            artist=pb.Artist(id="7", full_name="René"),
            created_from=timestamp_pb2.Timestamp(seconds=1706684400, nanos=500_000_000),
            age=duration_pb2.Duration(seconds=1, nanos=500_000_000),
            fields=field_mask_pb2.FieldMask(paths=["full_name", "artist.id"]),
            framed=wrappers_pb2.BoolValue(value=False),
            sold=True,
            page_size=10,
            min_width=100.0,
            fingerprint=b"\xff\xef",
            min_price=1250,
            currency="USD",
        )
    ]


async def test_everything_wrong_with_a_query_is_named(gateway: Gateway, gallery: Gallery) -> None:
    query = (
        "colour=1&text=a&text=b&styles=OIL&styles=wax&sold=yes&pageSize=1.5&createdFrom=now&notes=x&artist=y&minPrice=1"
    )
    answer = await gateway.http.get(f"/v1/paintings:search?{query}")
    assert answer.status_code == 400
    assert {error["field"]: error["detail"] for error in answer.json()["errors"]} == {
        "colour": "is not a known parameter",
        "text": "is given more than once",
        "notes": "cannot be given as text",
        "artist": "cannot be given as text",
        "styles[1]": "is not one of OIL, WATER_COLOUR",
        "sold": "is not true or false",
        "pageSize": "is not a whole number",
        "createdFrom": "is not a time of RFC 3339, such as 2024-01-31T12:00:00Z",
        "currency": "is required with minPrice",
    }
    assert gallery.received == []


async def test_a_query_gives_a_map_entry_by_entry(gateway: Gateway, gallery: Gallery) -> None:
    query = "marks[a]=1&marks%5Bb.c%5D=x+y&marks[d[e]]=&frame.smallMarks[Ren%C3%A9]=%C3%A9&frame.small_marks[_]=["
    answer = await gateway.http.get(f"/v1/paintings:search?{query}")
    assert answer.status_code == 200, answer.text
    assert gallery.received == [
        pb.SearchRequest(
            marks={"a": "1", "b.c": "x y", "d[e]": ""},
            frame=pb.Frame(small_marks={"René": "é", "_": "["}),
        )
    ]


async def test_everything_wrong_with_a_map_in_a_query_is_named(gateway: Gateway, gallery: Gallery) -> None:
    query = (
        "marks[a]=1&marks[a]=1&marks=1&marks[]=1&text[0]=1&marks[b]=12345678901&marks[toolong]=1&marks[c]=%00"
        "&frame.smallMarks[a]=1&frame.small_marks[a]=2&missing[a]=1&[a]=1&marks[a]b=1"
    )
    answer = await gateway.http.get(f"/v1/paintings:search?{query}")
    assert answer.status_code == 400
    found = {(error["field"], error["detail"]) for error in answer.json()["errors"]}
    assert found == {
        ("marks.a", "is given more than once"),
        ("marks", "needs a key in brackets"),
        ("marks[]", "needs a key in brackets"),
        ("text[0]", "takes no key in brackets"),
        ("frame.smallMarks.a", "is given more than once"),
        ("missing[a]", "is not a known parameter"),
        ("[a]", "is not a known parameter"),
        ("marks[a]b", "is not a known parameter"),
    }
    assert gallery.received == []


async def test_the_rules_of_a_map_hold_for_its_size_its_keys_and_its_values(gateway: Gateway, gallery: Gallery) -> None:
    query = "colour=1&marks[b]=12345678901&marks[toolong]=1&marks[c]=%00&marks[d]=1"
    answer = await gateway.http.get(f"/v1/paintings:search?{query}")
    found = {(error["field"], error["detail"]) for error in answer.json()["errors"]}
    assert found == {
        ("colour", "is not a known parameter"),
        ("marks", "has more than 3 items"),
        ("marks", "has a key that is longer than 5 characters"),
        ("marks.b", "is longer than 10 characters"),
        ("marks.c", "contains a NUL character"),
    }


@pytest.mark.parametrize("query", ["id=2", "artist.id=1&id=1", "%ff=1", "text=%ff", "&".join(["artist.id=1"] * 201)])
async def test_a_query_cannot_smuggle(gateway: Gateway, gallery: Gallery, query: str) -> None:
    answer = await gateway.http.get(f"/v1/paintings/1?{query}")
    assert answer.status_code == 400
    assert gallery.received == []


async def test_a_whole_body_is_the_request(gateway: Gateway, gallery: Gallery) -> None:
    body = {"title": "Sea", "style": "OIL", "price": 12.5, "artist": {"full_name": "René"}, "notes": {"a": [1, None]}}
    answer = await gateway.http.post("/v1/paintings", json=body, headers={"idempotency-key": "k"})
    assert answer.status_code == 201
    expected = pb.Painting(title="Sea", style=pb.PAINTING_STYLE_OIL, price=1250, artist=pb.Artist(full_name="René"))
    expected.notes.update({"a": [1, None]})
    assert gallery.received == [expected]


async def test_a_query_beside_a_whole_body_is_refused(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.post("/v1/paintings?title=x", json={}, headers={"idempotency-key": "k"})
    assert answer.json()["errors"] == [{"field": "title", "detail": "is not a known parameter"}]


async def test_a_patch_takes_its_mask_from_the_body(gateway: Gateway, gallery: Gallery) -> None:
    body = {"title": "Sea", "price": None, "artist": {"fullName": "René"}, "notes": {"a": {"b": 1}}, "tags": []}
    answer = await gateway.http.patch("/v1/paintings/1", json=body, headers={"if-match": 'W/"7"'})
    assert answer.status_code == 200, answer.text
    request = gallery.received[0]
    assert list(request.update_mask.paths) == ["title", "price", "artist.full_name", "notes", "tags"]
    assert request.etag == "7"
    assert request.painting.id == "1"


async def test_a_patch_may_state_its_mask_itself(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.patch("/v1/paintings/1?updateMask=title,artist.fullName", json={"title": "Sea"})
    assert list(gallery.received[0].update_mask.paths) == ["title", "artist.full_name"]


async def test_a_body_may_repeat_the_path_but_not_contradict_it(gateway: Gateway, gallery: Gallery) -> None:
    same = await gateway.http.patch("/v1/paintings/1", json={"id": "1", "title": "Sea"})
    other = await gateway.http.patch("/v1/paintings/1", json={"id": "2", "title": "Sea"})
    assert same.status_code == 200
    assert other.json()["errors"] == [{"field": "id", "detail": "differs from the path"}]


async def test_a_body_may_be_a_single_value_and_so_may_an_answer(gateway: Gateway, gallery: Gallery) -> None:
    gallery.answer = pb.Painting(title="Sea", tags=["a", "b"])
    title = await gateway.http.put("/v1/paintings/1/title", json="Sea")
    tags = await gateway.http.put("/v1/paintings/1/tags", json=["a", "b"])
    assert (title.json(), tags.json()) == ("Sea", ["a", "b"])
    assert gallery.received == [
        pb.ReplaceTitleRequest(id="1", title="Sea"),
        pb.ReplaceTagsRequest(id="1", tags=["a", "b"]),
    ]


async def test_a_custom_method_has_a_route(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.request("REPORT", "/v1/paintings/1")
    assert answer.status_code == 200
    assert gallery.received == [pb.GetPaintingRequest(id="1")]


async def test_an_empty_answer_is_204(gateway: Gateway, gallery: Gallery) -> None:
    headers = {"authorization": f"Bearer {gateways.token('admin')}"}
    answer = await gateway.http.delete("/v1/paintings/1", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_get_answers_head_without_a_body(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.head("/v1/paintings/1")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", '"7"')


async def test_another_method_on_a_known_path_is_405_and_says_which_it_takes(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/paintings/1")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH, REPORT"
    assert (await gateway.http.delete("/v1/paintings/newest")).headers["allow"] == "GET, HEAD"
    assert (await gateway.http.head("/v1/paintings/1:watch")).status_code == 405


@pytest.mark.parametrize("path", ["/v1", "/v1/paintings/", "/v1//paintings", "/v1/paintings/1/", "/v1/rooms/1/walls"])
async def test_an_unknown_path_is_404(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["detail"].startswith(f"no route {path}")


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("GET", "/v1/paintings/newest/", "/v1/paintings/newest"),
        ("GET", "/v1//paintings/newest", "/v1/paintings/newest"),
        ("GET", "/v1/painting/newest", "/v1/paintings/newest"),
        ("GET", "/api/v2/v1/sales:follow", "/v1/sales:follow"),
        ("POST", "/v1/painting/7:restor", "/v1/paintings/7:restore"),
        ("POST", "/v1/Paintings", "/v1/paintings"),
        ("GET", "/v1/sales:folow", "/v1/sales:follow"),
        ("GET", "/" + "a/" * 99, None),
        ("GET", "/v1/paintings/" + "x" * 300 + "/", None),
        ("GET", "/v1/%70aintings/newest/", "/v1/%70aintings/newest"),
    ],
)
async def test_an_unknown_path_is_told_what_may_have_been_meant(
    gateway: Gateway, method: str, path: str, meant: str | None
) -> None:
    detail = (await gateway.http.request(method, path)).json()["detail"]
    assert detail.partition("; did you mean ")[2] == (f"{meant}?" if meant else "")


async def test_a_colon_in_an_id_that_can_hold_it_is_no_verb(gateway: Gateway, gallery: Gallery) -> None:
    assert (await gateway.http.get("/v1/paintings/1:foo")).status_code == 200
    assert (await gateway.http.post("/v1/paintings/1:foo")).status_code == 405


async def test_a_method_without_an_annotation_has_no_route(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).text
    assert "Repaint" not in document


async def test_a_path_that_is_not_utf8_is_refused(gateway: Gateway) -> None:
    answer = await gateway.http.get("/v1/paintings/%ff")
    assert answer.json()["errors"] == [{"field": "id", "detail": "is not percent-encoded UTF-8"}]


async def test_every_field_type_survives_the_way_there_and_back(gateway: Gateway, gallery: Gallery) -> None:
    body: dict[str, Any] = {
        "small": -1, "large": "-9223372036854775808",
        "smallNatural": 4294967295, "largeNatural": "18446744073709551615",
        "smallSigned": -2, "largeSigned": "-3", "smallFixed": 4, "largeFixed": "5", "single": 0.1, "twice": 1.5,
        "flag": True, "text": "é", "data": "/+8=", "style": "OIL", "depth": "SHALLOW", "maybe": "", "perhaps": 0,
        "numbers": ["1", "2"], "styles": ["OIL"], "child": {"text": "x"}, "children": [{"text": "y"}],
        "counts": {"a": 1}, "artists": {"7": {"id": "1", "fullName": ""}}, "answers": {"true": "yes"},
        "stylesByName": {"a": "OIL"}, "right": {"id": "2", "fullName": ""}, "time": "2024-01-31T12:00:00.000001Z",
        "duration": "-1.500s", "mask": "fullName,artist.id", "structure": {"a": [1, 2.5, None, True, {"b": "c"}]},
        "value": None, "list": [1, "a"], "wrappedText": "", "wrappedNumber": "5", "wrappedFlag": False,
        "wrappedData": "AA==", "wrappedDouble": "NaN", "nil": {}, "times": ["1970-01-01T00:00:00Z"],
        "durations": {"a": "1s"},
    }  # fmt: skip
    answer = await gateway.http.post("/v1/everything", json=body)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown.pop("child")["text"], shown.pop("children")[0]["text"]) == ("x", "y")
    assert shown == {name: value for name, value in body.items() if name not in ("child", "children")}
