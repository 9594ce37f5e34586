"""Tags as they stood on each date; labels of own columns; rare ones left out."""

import numpy as np
import pandas as pd

from crmlab.crm import Crm
from crmlab.features import Feature, OwnFields, Tags, build_features, feature_catalog
from crmlab.features.tags import is_labels, label_columns
from crmlab.schema import TABLES, empty_table
from crmlab.store import Store


def make_crm(n: int = 12, own: dict | None = None) -> Crm:
    """Leads L0 … tagged on 1 February; L0 loses the tag `fair` on the 10th."""
    leads = pd.DataFrame(
        {"lead_id": [f"L{k}" for k in range(n)], "created_at": pd.Timestamp("2024-01-01")} | (own or {})
    )
    log = [(f"C{k:02d}", f"L{k}", "Fair|VIP" if k < 11 else "rare", "2024-02-01") for k in range(n)]
    log.append(("C99", "L0", "VIP", "2024-02-10"))
    changes = pd.DataFrame(log, columns=["change_id", "entity_id", "new_value", "changed_at"])
    changes = changes.assign(entity="lead", field="tags", changed_at=pd.to_datetime(changes["changed_at"]))
    read = {name: empty_table(name) for name in TABLES}
    for name, frame in (("leads", leads.assign(status="working")), ("changes", changes)):
        own_types = {c: "str" for c in frame if c not in read[name]}
        frame = frame.reindex(columns=[*read[name], *own_types])
        read[name] = frame.astype(dict(read[name].dtypes) | own_types)
    return Crm(Store("never read"), "", {"x_topics": {"known": "creation"}}, _read=read)


def rows(*dates: str, lead: str = "L0") -> pd.DataFrame:
    times = pd.Series(pd.to_datetime(list(dates)), dtype="datetime64[us]")
    return pd.DataFrame({"lead_id": pd.Series([lead] * len(dates), dtype="str"), "as_of": times})


def test_a_tag_counts_from_when_it_was_set_until_it_was_taken_away():
    found = build_features(make_crm(), rows("2024-02-01", "2024-02-02", "2024-02-10", "2024-02-11"), features=[Tags()])
    assert list(found) == ["tag_fair", "tag_vip"]  # `rare` stands in one value only
    np.testing.assert_array_equal(found["tag_fair"], [np.nan, 1, 1, 0])
    np.testing.assert_array_equal(found["tag_vip"], [np.nan, 1, 1, 1])


def test_cutting_the_future_changes_no_tag():
    crm, asked = make_crm(), rows("2024-02-05")
    expected = build_features(crm, asked, features=[Tags()])
    pd.testing.assert_frame_equal(build_features(crm.cut(as_of="2024-02-05"), asked, features=[Tags()]), expected)


def test_own_columns_with_labels_become_one_feature_per_label():
    crm = make_crm(own={"x_topics": ["price|Demo"] * 10 + ["price", None]})
    found = build_features(
        crm, pd.concat([rows("2024-03-01", lead=k) for k in ("L0", "L10", "L11")]), features=[OwnFields()]
    )
    assert found["x_topics_price"].tolist()[:2] == [1, 1]
    assert found["x_topics_demo"].tolist()[:2] == [1, 0]
    assert found.iloc[2].isna().all()
    assert (feature_catalog(found, crm)["family"] == "own column").all()


def test_no_history_of_tags_no_feature():
    crm = make_crm()
    crm._read["changes"] = empty_table("changes")
    asked = rows("2024-02-05")
    assert list(build_features(crm, asked, features=[Tags(), Feature("calls", "interactions")])) == []


def test_labels_are_united_over_spellings_and_bounded_in_number():
    whole = pd.Series(["a|A", "b"] * 10 + [f"t{k}" for k in range(60) for _ in range(10 + k)], dtype="str")
    assert is_labels(whole)
    assert not is_labels(pd.Series(["a", None], dtype="str"))
    found = label_columns(np.array(["A", "b|t59", None], dtype=object), whole, prefix="tag")
    assert len(found) == 50  # the 50 most frequent of 62
    assert "tag_t59" in found
    assert "tag_t0" not in found
