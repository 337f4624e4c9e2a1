"""No scene and no person on two sides, and a check that fails on a planted leak."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards.splits import (
    HUMOR_PROX_TEST_SCENES,
    RICH_TEST_SUBJECTS,
    Membership,
    SplitSettings,
    decide_split,
    humor_prox_split,
    read_rich_split,
    require_no_leak,
    split_recordings,
)

PROX_TEST_FRAMES = {
    "N3Office": (2152, 1337, 2254, 2599, 3060, 2037, 2044),
    "N0Sofa": (3038, 1446, 2266, 2104, 1603),
    "N3Library": (967, 714, 827, 652, 1100, 464, 670, 984),
    "MPH1Library": (2211, 3483, 1509),
}


def room(scene, subject, take=1):
    return Membership(f"{scene}_{subject}_{take:02d}", scene, (subject,))


def forty():
    """Twenty scenes of two recordings; ten people who each saw two scenes that nobody else saw."""
    return [room(f"room{row % 20}", f"{row % 10}", 1 + row // 20) for row in range(40)]


@pytest.mark.parametrize("by", ["scene", "subject", "both"])
def test_a_split_of_our_own_leaks_nothing_and_holds_everything(by):
    split = split_recordings(forty(), SplitSettings(by=by))
    require_no_leak(split, forty(), by)
    counts = Counter(split.values())
    assert sum(counts.values()) == len(split) == 40
    assert 8 <= counts["test"] <= 12
    assert 4 <= counts["val"] <= 8


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20
    ),
    st.sampled_from(["scene", "subject", "both"]),
    st.integers(0, 5),
)
def test_whatever_is_shared_either_no_split_or_no_leak(rows, by, seed):
    members = [
        Membership(f"r{n}", f"s{scene}", (f"p{one}", f"p{other}"))
        for n, (scene, one, other) in enumerate(rows)
    ]
    try:
        split = split_recordings(members, SplitSettings(by=by, seed=seed))
    except DataInvalid:
        return
    require_no_leak(split, members, by)
    assert set(split.values()) == {"train", "val", "test"}


def test_a_side_with_no_share_stays_empty():
    split = split_recordings(forty(), SplitSettings(val_share=0))
    assert set(split.values()) == {"train", "test"}


def test_the_split_hangs_on_the_seed_and_not_on_the_order():
    split = split_recordings(forty(), SplitSettings(seed=1))
    assert split == split_recordings(forty()[::-1], SplitSettings(seed=1))
    assert split != split_recordings(forty(), SplitSettings(seed=2))


def test_a_planted_leak_is_found_and_named():
    members = forty()
    split = split_recordings(members, SplitSettings())
    moved = next(name for name, side in split.items() if side == "train")
    split[moved] = "test"
    member = next(member for member in members if member.recording == moved)
    with pytest.raises(DataInvalid, match=rf"leaks through[\s\S]*scene {member.scene}: train .*, test"):
        require_no_leak(split, members, "scene")
    with pytest.raises(DataInvalid, match=rf"subject {member.subjects[0]}: train"):
        require_no_leak(split, members, "subject")


def test_the_second_person_of_a_recording_leaks_too():
    members = [Membership("a", "one", ("1", "2")), Membership("b", "two", ("2",))]
    split = {"a": "train", "b": "test"}
    require_no_leak(split, members, "scene")
    with pytest.raises(DataInvalid, match="subject 2"):
        require_no_leak(split, members, "both")


def test_recordings_without_a_side_or_given_twice_are_refused():
    member = room("MPH16", "00157")
    with pytest.raises(DataInvalid, match="on no side"):
        require_no_leak({}, [member], "scene")
    with pytest.raises(DataInvalid, match="given twice"):
        require_no_leak({member.recording: "test"}, [member, member], "scene")


def test_recordings_that_are_all_tied_together_cannot_be_split():
    chain = [Membership(f"r{n}", f"s{n}", (f"p{n}", f"p{n + 1}")) for n in range(10)]
    with pytest.raises(DataInvalid, match=r"cannot be split by both[\s\S]*10 recording\(s\) in 1 group"):
        split_recordings(chain, SplitSettings(by="both"))
    require_no_leak(split_recordings(chain, SplitSettings(by="scene")), chain, "scene")


def test_humors_prox_test_is_23_recordings_of_579_windows():
    assert set(PROX_TEST_FRAMES) == set(HUMOR_PROX_TEST_SCENES)
    windows = [(frames - 180) // 60 for counts in PROX_TEST_FRAMES.values() for frames in counts]
    assert (len(windows), sum(windows)) == (23, 579)
    members = [room("N0Sofa", "00034"), room("MPH16", "00157"), room("MPH8", "00034")]
    split = humor_prox_split(members)
    assert list(split.values()) == ["test", "train", "train"]
    require_no_leak(split, members, "scene")
    with pytest.raises(DataInvalid, match="subject 00034"):  # as published: people are on both sides
        require_no_leak(split, members, "subject")


def test_richs_test_subjects():
    assert len(RICH_TEST_SUBJECTS) == 8
    assert "013" in RICH_TEST_SUBJECTS


def test_auto_keeps_scenes_and_people_apart_where_it_can():
    found = decide_split(forty(), "auto", SplitSettings())
    assert found.proved == "both"
    assert found.note == ""
    assert found.sides == split_recordings(forty(), SplitSettings())


def test_auto_gives_up_people_then_sides_and_says_so():
    chain = [Membership(f"r{n}", f"s{n}", (f"p{n}", f"p{n + 1}")) for n in range(10)]
    found = decide_split(chain, "auto", SplitSettings())
    assert (found.proved, set(found.sides.values())) == ("scene", {"train", "val", "test"})
    assert "People are on both sides" in found.note
    two = [room("MPH16", "00157"), room("N0Sofa", "00034")]
    found = decide_split(two, "auto", SplitSettings())
    assert (found.proved, set(found.sides.values())) == ("both", {"train", "test"})
    assert "validation" in found.note
    found = decide_split(two[:1], "auto", SplitSettings())
    assert set(found.sides.values()) == {"train"}
    assert "everything trains" in found.note


def test_own_is_strict_and_the_others_are_what_they_are_called():
    with pytest.raises(DataInvalid, match="cannot be split by both"):
        decide_split([room("MPH16", "00157")], "own", SplitSettings())
    members = [room("N0Sofa", "00034"), room("MPH16", "00157")]
    humor = decide_split(members, "humor-prox", SplitSettings())
    assert (humor.proved, list(humor.sides.values())) == ("scene", ["test", "train"])
    alone = decide_split(members, "train-only", SplitSettings())
    assert (alone.proved, set(alone.sides.values())) == (None, {"train"})


def write_lists(folder, **names):
    for side in ("train", "val", "test"):
        rows = "".join(f"{name}\tBBQ\n" for name in names.get(side, ()))
        (folder / f"{side}.txt").write_text("sequence_name\tcapture_name\n" + rows)


def test_richs_lists_are_read_as_they_are(tmp_path):
    write_lists(tmp_path, train=["BBQ_001_guitar", "BBQ_001_guitar"], test=["Gym_013_burpee4"])
    split = read_rich_split(tmp_path)
    assert split == {"BBQ_001_guitar": "train", "Gym_013_burpee4": "test"}
    write_lists(tmp_path, train=["a"], test=["a"])
    with pytest.raises(DataInvalid, match=r"on two sides[\s\S]*found: a"):
        read_rich_split(tmp_path)
    (tmp_path / "val.txt").write_text("BBQ_001_guitar\n")
    with pytest.raises(DataInvalid, match="sequence_name"):
        read_rich_split(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(DataMissing, match=r"val\.txt"):
        read_rich_split(tmp_path)


def _with_sides(*sides: str | None) -> list[Membership]:
    return [
        Membership(f"r{n}", f"scene{n}", (f"{n}",), side)  # type: ignore[arg-type]
        for n, side in enumerate(sides)
    ]


def test_a_data_sets_own_split_is_kept_and_what_it_shares_is_said():
    members = _with_sides("train", "val", "test")
    decided = decide_split(members, "auto", SplitSettings())
    assert (decided.name, decided.proved, decided.note) == ("official", "both", "")
    assert decided.sides == {"r0": "train", "r1": "val", "r2": "test"}
    shared = [*members, Membership("r3", "scene9", ("0",), "test")]
    decided = decide_split(shared, "official", SplitSettings())
    assert decided.proved == "scene"
    assert "People are on two sides" in decided.note
    both = [*shared, Membership("r4", "scene1", ("2",), "train")]
    decided = decide_split(both, "official", SplitSettings())
    assert decided.proved is None
    assert "Scenes and people" in decided.note
    with pytest.raises(DataInvalid, match="on no side of an official split"):
        decide_split(_with_sides("train", None), "official", SplitSettings())
