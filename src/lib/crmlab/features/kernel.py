"""The compiled part: one pass over an entity's events in order of time, each entering and leaving each window once.

Times are int64 microseconds, values int64 in units of their column's resolution. Everything is summed as integers, so
that a result depends on the set of visible events only, never on the order of summing: batch, live, out of core and
cluster give the same bits. An event is visible from `enters` on (strictly before a row's `as_of`); most enter when they
take place, the others ("late") are visited in order of entering through an index of their own.
"""

import numpy as np
from numba import njit

__all__ = ["DAY", "MISSING", "MONDAY", "WEEK", "fold", "group_by_entity", "sort_within", "split_by_range"]

DAY = 86_400_000_000
WEEK = 7 * DAY
MONDAY = 4 * DAY
"""From 1970-01-01, a Thursday, to the first Monday."""
MISSING = np.iinfo(np.int64).min
_KEEP, _NEW = 0.7, 0.3


@njit(cache=True, nogil=True)
def group_by_entity(entity, ts, enters, n_entities):  # noqa: ANN201 (compiled: types come from the arguments)
    """Return a stable counting sort by entity, and what it found.

    Parameters
    ----------
    entity : int32[n] in 0..n_entities−1; negative: the event belongs to none and is left out.
    ts, enters : int64[n].

    Returns
    -------
    order : int64[m], places of the events by entity, else in the order given. start : int64[n_entities + 1].
    in_order : whether times never fall within an entity. n_late : events that enter after they took place.
    """
    start = np.zeros(n_entities + 1, np.int64)
    for i in range(len(entity)):
        if entity[i] >= 0:
            start[entity[i] + 1] += 1
    for e in range(n_entities):
        start[e + 1] += start[e]
    place = start[:-1].copy()
    newest = np.full(n_entities, MISSING)
    order = np.empty(start[n_entities], np.int64)
    in_order = True
    n_late = 0
    for i in range(len(entity)):
        e = entity[i]
        if e < 0:
            continue
        order[place[e]] = i
        place[e] += 1
        in_order &= ts[i] >= newest[e]
        newest[e] = ts[i]
        n_late += enters[i] > ts[i]
    return order, start, in_order, n_late


@njit(cache=True, nogil=True)
def split_by_range(entity, shift, n_ranges):  # noqa: ANN201
    """Return a stable counting sort by range of entities, of 2**shift entities each.

    Returns
    -------
    order : int32[n], places of the events by range, else in the order given. start : int64[n_ranges + 1].
    """
    start = np.zeros(n_ranges + 1, np.int64)
    for i in range(len(entity)):
        start[(entity[i] >> shift) + 1] += 1
    for r in range(n_ranges):
        start[r + 1] += start[r]
    place = start[:-1].copy()
    order = np.empty(len(entity), np.int32)
    for i in range(len(entity)):
        r = entity[i] >> shift
        order[place[r]] = i
        place[r] += 1
    return order, start


@njit(cache=True, nogil=True)
def sort_within(order, start, ts):  # noqa: ANN201
    """Sort the places of each entity's events by time, in place; equal times keep their order.

    Histories are short and mostly in order: runs of 16 are sorted by insertion, then merged.
    """
    longest = 0
    for e in range(len(start) - 1):
        longest = max(longest, start[e + 1] - start[e])
    key = np.empty(longest, np.int64)
    other_key = np.empty(longest, np.int64)
    other = np.empty(longest, np.int64)
    for e in range(len(start) - 1):
        begin = start[e]
        n = start[e + 1] - begin
        in_order = True
        for i in range(n):
            key[i] = ts[order[begin + i]]
            in_order &= i == 0 or key[i - 1] <= key[i]
        if in_order:
            continue
        for low in range(0, n, 16):
            for i in range(low + 1, min(low + 16, n)):
                when, place = key[i], order[begin + i]
                j = i - 1
                while j >= low and key[j] > when:
                    key[j + 1] = key[j]
                    order[begin + j + 1] = order[begin + j]
                    j -= 1
                key[j + 1] = when
                order[begin + j + 1] = place
        width = 16
        while width < n:
            for low in range(0, n, 2 * width):
                middle, high = min(low + width, n), min(low + 2 * width, n)
                i, j = low, middle
                for k in range(low, high):
                    if i < middle and (j >= high or key[i] <= key[j]):
                        other_key[k], other[k] = key[i], order[begin + i]
                        i += 1
                    else:
                        other_key[k], other[k] = key[j], order[begin + j]
                        j += 1
            for i in range(n):
                key[i], order[begin + i] = other_key[i], other[i]
            width *= 2


@njit(cache=True, nogil=True, error_model="numpy")
def fold(  # noqa: ANN201
         row_start, as_of, start, ts, enters, late_start, late, combo, values, windows, n_weeks, n_slots, n_days, ring,
         slot_ptr, slots, sum_ptr, sums, sum_value, day_ptr, days, week_ptr, weeks, week_value, week_unit,
         last_ptr, lasts, last_value, want_n, want_sum, want_day, want_newest, want_oldest, first_week, carry,
         out_n, out_sum, out_present, out_day, out_newest, out_oldest, out_week, out_last
):  # fmt: skip
    """Write what each row sees of its entity's events.

    Parameters
    ----------
    row_start : int64[entities + 1], rows of each entity; as_of : int64[rows], not falling within an entity.
    start, ts, enters, combo : events by entity and time; combo says which declarations an event belongs to.
    late_start, late : places of late events by entity and time of entering.
    values : int64[columns, events], `MISSING` where empty.
    windows : int64[w], lengths, rising. Index w means "ever".
    n_weeks : weeks that the longest history spans. n_slots, n_days : how many declarations and how many of active days.
    ring : a power of two, more than the days of the longest window.
    slot_ptr, slots : declarations of each combo, as offsets and numbers; the same for sums, days, weeks and lasts;
        `…_value` names their column of `values` (week_value −1: the events are counted). week_unit : resolution of it.
    want_n, want_sum, want_day : int64[k, 2], (number, window) of each result; want_newest, want_oldest : slots.
    first_week, carry : float64[weeks' items, entities], smoothed values of the week before `first_week`, where earlier
        events are known by them alone; without entities: smoothing starts with an entity's first event.
    out_… : results, one line per result and one place per row; they are overwritten.
    """
    n_windows = len(windows)
    carried = carry.shape[1] > 0
    # What has entered, and what of that has left each window: an event is counted in at one place only.
    entered = np.zeros(n_slots, np.int32)
    gone = np.zeros((n_slots, n_windows + 1), np.int32)
    newest = np.empty(n_slots, np.int64)
    oldest = np.empty(n_slots, np.int64)
    total = np.zeros(len(sum_value), np.int64)
    gone_total = np.zeros((len(sum_value), n_windows + 1), np.int64)
    present = np.zeros(len(sum_value), np.int32)
    gone_present = np.zeros((len(sum_value), n_windows + 1), np.int32)
    per_day = np.zeros((n_days, n_windows, ring), np.int32)
    active = np.zeros((n_days, n_windows), np.int32)
    # Week by week, so that the items of a week are smoothed side by side; smooth[w + 1] is the value after week w.
    in_week = np.zeros((n_weeks, len(week_value)), np.int64)
    smooth = np.zeros((n_weeks + 1, len(week_value)), np.float64)
    unfolded = 0
    last = np.empty(len(last_value), np.int64)
    left = np.empty(n_windows, np.int64)
    clean = False

    for e in range(len(row_start) - 1):
        first_row, end_row = row_start[e], row_start[e + 1]
        if first_row == end_row:
            continue
        begin, end = start[e], start[e + 1]
        if not clean:
            entered[:] = 0
            gone[:] = 0
            newest[:] = -1
            oldest[:] = -1
            total[:] = 0
            gone_total[:] = 0
            present[:] = 0
            gone_present[:] = 0
            if n_days:
                per_day[:] = 0
                active[:] = 0
            last[:] = -1
        clean = begin == end
        left[:] = begin
        # Without events there is no week to fold, whatever the date.
        base = ((ts[begin] if begin < end else as_of[end_row - 1]) - MONDAY) // WEEK
        if carried:
            base = first_week
        if len(week_value):
            span = min(max((as_of[end_row - 1] - MONDAY) // WEEK - base, 0) + 1, n_weeks)
            in_week[:span] = 0
            unfolded = 0
            if carried:
                for g in range(len(week_value)):
                    smooth[0, g] = carry[g, e]
        at, late_at = begin, late_start[e]
        previous = MISSING
        for r in range(first_row, end_row):
            t = as_of[r]
            while True:
                # The next event that this row sees and the row before did not: in order of time, then the late ones.
                if at < end and ts[at] < t:
                    i = at
                    at += 1
                    if enters[i] > ts[i]:
                        continue
                elif late_at < late_start[e + 1] and enters[late[late_at]] < t:
                    i = late[late_at]
                    late_at += 1
                else:
                    break
                c = combo[i]
                when = ts[i]
                inside = 0
                while inside < n_windows and when < t - windows[inside]:
                    inside += 1
                for k in range(slot_ptr[c], slot_ptr[c + 1]):
                    s = slots[k]
                    entered[s] += 1
                    for w in range(inside):
                        gone[s, w] += 1
                    if newest[s] < i:
                        newest[s] = i
                    if oldest[s] < 0 or oldest[s] > i:
                        oldest[s] = i
                for k in range(sum_ptr[c], sum_ptr[c + 1]):
                    s = sums[k]
                    v = values[sum_value[s], i]
                    if v != MISSING:
                        total[s] += v
                        present[s] += 1
                        for w in range(inside):
                            gone_total[s, w] += v
                            gone_present[s, w] += 1
                if day_ptr[c] < day_ptr[c + 1]:
                    day = (when // DAY) & (ring - 1)
                    for k in range(day_ptr[c], day_ptr[c + 1]):
                        d = days[k]
                        for w in range(inside, n_windows):
                            active[d, w] += per_day[d, w, day] == 0
                            per_day[d, w, day] += 1
                if week_ptr[c] < week_ptr[c + 1]:
                    week = (when - MONDAY) // WEEK - base
                    for k in range(week_ptr[c], week_ptr[c + 1]):
                        g = weeks[k]
                        v = 1 if week_value[g] < 0 else values[week_value[g], i]
                        if v != MISSING:
                            in_week[week, g] += v
                            unfolded = min(unfolded, week)
                for k in range(last_ptr[c], last_ptr[c + 1]):
                    if last[lasts[k]] < i and values[last_value[lasts[k]], i] != MISSING:
                        last[lasts[k]] = i
            for w in range(n_windows):
                edge = t - windows[w]
                i = left[w]
                while i < end and ts[i] < edge:
                    # What no earlier row saw left this window as it entered.
                    if enters[i] < previous:
                        c = combo[i]
                        for k in range(slot_ptr[c], slot_ptr[c + 1]):
                            gone[slots[k], w] += 1
                        for k in range(sum_ptr[c], sum_ptr[c + 1]):
                            v = values[sum_value[sums[k]], i]
                            if v != MISSING:
                                gone_total[sums[k], w] += v
                                gone_present[sums[k], w] += 1
                        if day_ptr[c] < day_ptr[c + 1]:
                            day = (ts[i] // DAY) & (ring - 1)
                            for k in range(day_ptr[c], day_ptr[c + 1]):
                                d = days[k]
                                per_day[d, w, day] -= 1
                                active[d, w] -= per_day[d, w, day] == 0
                    i += 1
                left[w] = i
            for k in range(len(want_n)):
                out_n[k, r] = entered[want_n[k, 0]] - gone[want_n[k, 0], want_n[k, 1]]
            for k in range(len(want_sum)):
                out_sum[k, r] = total[want_sum[k, 0]] - gone_total[want_sum[k, 0], want_sum[k, 1]]
                out_present[k, r] = present[want_sum[k, 0]] - gone_present[want_sum[k, 0], want_sum[k, 1]]
            for k in range(len(want_day)):
                out_day[k, r] = active[want_day[k, 0], want_day[k, 1]]
            for k in range(len(want_newest)):
                i = newest[want_newest[k]]
                out_newest[k, r] = ts[i] if i >= 0 else MISSING
            for k in range(len(want_oldest)):
                i = oldest[want_oldest[k]]
                out_oldest[k, r] = ts[i] if i >= 0 else MISSING
            if len(week_value):
                complete = max((t - MONDAY) // WEEK - base, 0)
                for week in range(unfolded, complete):
                    for g in range(len(week_value)):
                        smooth[week + 1, g] = _KEEP * smooth[week, g] + _NEW * (in_week[week, g] / week_unit[g])
                unfolded = max(unfolded, complete)
                for g in range(len(week_value)):
                    out_week[g, r] = smooth[complete, g]
            for k in range(len(last_value)):
                i = last[k]
                out_last[k, r] = values[last_value[k], i] if i >= 0 else MISSING
            previous = t
