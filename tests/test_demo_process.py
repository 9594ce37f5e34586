"""The ladder: its exact probabilities against hand calculation and against brute-force simulation."""

import numpy as np
import pytest

from crmlab.demo.calendar import as_day, as_time, build_calendars
from crmlab.demo.process import Cells, Ladder, exit_probability, simulate
from crmlab.demo.settings import CUSTOMER, DEAL, LADDERS, LEAD

CALENDARS = build_calendars()
MONDAY = int(as_day(np.datetime64("2023-07-03", "us")))


def cells(n: int, *, start_day: int = MONDAY, rep: tuple[float, ...] = (1.0,), switch: tuple[int, ...] = ()) -> Cells:
    """Return n equal rows with one owner, or with owners who take over on the days of `switch`."""
    days = np.array([start_day, *switch])
    return Cells(
        first=np.ones(n),
        second=np.ones(n),
        activity=np.ones(n),
        rep_first=np.tile(rep, (n, 1)),
        rep_activity=np.ones((n, len(rep))),
        switch_day=np.tile(days, (n, 1)),
        start_day=np.full(n, start_day),
    )


def still(first: float, second: float, **rest: object) -> Ladder:
    """Return a ladder whose levels never change."""
    five = np.ones(5)
    none = {name: np.zeros(1) for name in ("effect_up", "effect_down")}
    return Ladder(
        "lead",
        ("call",),
        up=0 * five,
        down=0 * five,
        first=first * five,
        second=second * five,
        chance=np.zeros((1, 5)),
        by_rep=np.array([True]),
        first_calendar="always",
        second_calendar="always",
        **(none | rest),
    )


def exact(ladder: Ladder, rows: Cells, level: int, day: int, horizon_days: int) -> np.ndarray:
    n = len(rows)
    return exit_probability(
        ladder, CALENDARS, rows, level=np.full(n, level), day=np.full(n, day), horizon_days=horizon_days
    )


def test_constant_hazards_give_the_geometric_formula():
    p = exact(still(0.02, 0.03), cells(1), 2, MONDAY, 60)
    assert p == pytest.approx(0.02 / 0.05 * (1 - 0.95**60), abs=1e-12)


def test_owner_factor_applies_from_the_day_of_the_handover():
    rows = cells(1, rep=(1.0, 3.0), switch=(MONDAY + 2,))
    p = exact(still(0.1, 0.0), rows, 0, MONDAY, 3)
    assert p == pytest.approx(1 - 0.9 * 0.9 * 0.7, abs=1e-12)


def test_days_before_the_start_pass_without_a_step():
    p = exact(still(0.1, 0.0), cells(1, start_day=MONDAY + 1), 0, MONDAY, 3)
    assert p == pytest.approx(1 - 0.9**2, abs=1e-12)


def test_term_end_replaces_the_daily_hazard_once_a_year():
    ladder = still(0.0, 0.0, term_end=np.full(5, 0.4))
    assert exact(ladder, cells(1), 0, MONDAY, 364) == 0.0
    assert exact(ladder, cells(1), 0, MONDAY, 365) == pytest.approx(0.4)
    assert exact(ladder, cells(1), 0, MONDAY, 730) == pytest.approx(1 - 0.6**2)


def test_one_step_up_through_an_interaction():
    ladder = still(0.0, 0.0)
    lift = {"chance": np.full((1, 5), 0.5), "effect_up": np.array([0.2]), "up": np.full(5, 0.05)}
    hot = np.array([0, 0.3, 0.3, 0.3, 0.3])
    ladder = Ladder(**(ladder.__dict__ | lift | {"first": hot}))
    work = CALENDARS["work"][MONDAY]
    assert exact(ladder, cells(1), 0, MONDAY, 2) == pytest.approx((0.05 + 0.2 * 0.5 * work) * 0.3, abs=1e-12)


@pytest.mark.parametrize(("ladder", "level"), [(LEAD, 1), (LEAD, 3), (DEAL, 2), (CUSTOMER, 1)])
def test_exact_probability_agrees_with_brute_force(ladder, level):
    n, horizon = 20_000, 400 if ladder is CUSTOMER else 90
    rows = cells(n, rep=(0.7, 1.6), switch=(MONDAY + 30,))
    rng = np.random.default_rng(11)
    paths = simulate(ladder, CALENDARS, rows, level=np.full(n, level), end_day=MONDAY + horizon, rng=rng)
    p = exact(ladder, rows.take(np.arange(1)), level, MONDAY, horizon)[0]
    error = np.sqrt(p * (1 - p) / n)
    assert 0.02 < p < 0.98
    assert abs((paths.exit_kind == 1).mean() - p) < 3.5 * error
    assert error < 0.05 * p


def test_events_end_with_the_exit_and_levels_stay_on_the_ladder():
    n = 500
    paths = simulate(LEAD, CALENDARS, cells(n), level=np.full(n, 2), end_day=MONDAY + 200, rng=np.random.default_rng(3))
    last = np.where(paths.exit_kind > 0, paths.exit_day, MONDAY + 199)
    assert (paths.event_day <= last[paths.event_row]).all()
    assert (paths.event_day >= MONDAY).all()
    assert set(np.unique(paths.level)) <= set(range(5))
    assert (paths.exit_kind > 0).mean() > 0.8


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
def test_probabilities_stay_below_one_at_the_bounds_of_all_factors(ladder):
    busiest = {name: values.max() for name, values in CALENDARS.factors.items()}
    first, second, activity, skill, diligence = np.exp([1.2, 1.5, 0.5, 0.8, 0.4])
    calendar = np.where(ladder.by_rep, busiest["work"] * diligence, busiest["web"])
    assert (ladder.chance.max(axis=1) * activity * calendar).max() < 1
    exits = ladder.first * first * skill * busiest[ladder.first_calendar]
    assert (exits + ladder.second * second * busiest[ladder.second_calendar]).max() < 1
    moves = ladder.up.max() + ladder.effect_up.sum() + ladder.down.max() + ladder.effect_down.sum()
    assert moves <= 1


def test_one_type_has_no_effect_and_follows_the_level():
    for ladder in LADDERS.values():
        null = ladder.types.index("email_open")
        assert ladder.effect_up[null] == ladder.effect_down[null] == 0
        assert ladder.chance[null, 4] > 3 * ladder.chance[null, 0]


def test_days_and_times_are_inverse():
    times = np.array(["1999-12-31T23:59:59", "2024-02-29T00:00:00"], dtype="datetime64[us]")
    assert as_time(as_day(times)).tolist() == times.astype("datetime64[D]").astype("datetime64[us]").tolist()
    assert as_time(as_day(times[1:]), 1.5)[0] == np.datetime64("2024-02-29T01:30:00")


def test_august_and_weekends_are_quiet():
    work = CALENDARS["work"]
    day = {
        name: as_day(np.datetime64(text, "us"))
        for name, text in {
            "may": "2024-05-14",
            "august": "2024-08-20",
            "saturday": "2024-05-18",
            "christmas": "2024-12-24",
        }.items()
    }
    assert work[day["august"]] < 0.5 * work[day["may"]]
    assert work[day["christmas"]] < 0.6 * work[day["may"]]
    assert work[day["saturday"]] < 0.1 * work[day["may"]]


def test_a_new_level_holds_from_the_next_day_on():
    climbing = Ladder(**(still(0.0, 0.0).__dict__ | {"up": np.array([1.0, 1.0, 1.0, 1.0, 0.0])}))
    paths = simulate(
        climbing, CALENDARS, cells(1), level=np.array([0]), end_day=MONDAY + 3, rng=np.random.default_rng(0)
    )
    assert paths.level_day.tolist() == [MONDAY, MONDAY + 1, MONDAY + 2, MONDAY + 3]
    assert paths.level.tolist() == [0, 1, 2, 3]
    days = np.array([MONDAY - 5, MONDAY, MONDAY + 1, MONDAY + 9])
    assert paths.level_at(np.zeros(4, int), days).tolist() == [0, 0, 1, 3]
