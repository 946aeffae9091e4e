"""The estimator in plain dicts and loops, slow and obvious: what every table is checked against."""

from collections import defaultdict


def link(rows, infer=False, has_terminated=False, has_truncated=False):
    """Give each row (a dict) ``next`` (None = end), ``limited``, ``truncated`` and ``starts``."""
    episodes = defaultdict(list)
    for row in rows:
        episodes[row["episode"]].append(dict(row))
    linked = []
    for members in episodes.values():
        members.sort(key=lambda row: row.get("step", 0))
        for row, following in zip(members, [*members[1:], None], strict=True):
            row["next"] = (following and following["state"]) if infer else row["next_state"]
            is_end = not (has_truncated and row["truncated"])
            if has_terminated:
                is_end = row["terminated"]
            row["limited"] = has_truncated and row["truncated"] and not is_end
            row["truncated"] = row["next"] is None and not is_end
            row["seen"] = row["next"]
            if has_terminated and row["terminated"]:
                row["next"] = None
        kept = [row for row in members if row.get("weight", 1) > 0]
        for row in kept:
            row["starts"] = row is kept[0]
        linked += kept
    return linked


def learn(
    rows,
    gamma,
    reward_on="state_action",
    untried="exclude",
    min_count=0,
    kappa=0,
    sweeps=2000,
    forbidden=(),
):
    """Count, average, iterate on linked rows; returns a dict of dicts keyed by label.

    ``forbidden`` holds pairs (state, action).
    """
    N, N_s = (defaultdict(lambda: defaultdict(float)) for _ in range(2))
    n = defaultdict(float)
    n_s, n_a, r_sa, r_s = (defaultdict(float) for _ in range(4))
    starts = defaultdict(float)
    states = {row["state"] for row in rows} | {row["seen"] for row in rows} - {None}
    actions = sorted({row["action"] for row in rows})
    for row in rows:
        s, a, w = row["state"], row["action"], row.get("weight", 1)
        starts[s] += w * row["starts"]
        if row["truncated"]:
            continue
        N[s, a][row["next"]] += w
        N_s[s][row["next"]] += w
        n[s, a] += w
        n_s[s] += w
        n_a[a] += w
        r_sa[s, a] += w * row["reward"]
        r_s[s] += w * row["reward"]
    admissible = {}
    for s in n_s:
        logged = {a: n[s, a] for a in actions if (s, a) in n}
        allowed = [a for a in logged if (s, a) not in forbidden]
        enough = [a for a in allowed if logged[a] >= min_count]
        admissible[s] = enough or sorted(allowed, key=lambda a: (-round(logged[a], 9), a))[:1]
        if untried == "uniform":
            never = [a for a in actions if a not in logged]
            admissible[s] += [a for a in never if (s, a) not in forbidden]
    V = dict.fromkeys(states, 0.0)

    def q(s, a):
        reward = r_sa[s, a] / n[s, a] if (s, a) in n else r_s[s] / n_s[s]
        if reward_on == "state":
            reward = r_s[s] / n_s[s]
        if (s, a) not in n:
            return reward + gamma * sum(V.values()) / len(V)
        trust = n[s, a] / (n[s, a] + kappa)
        value = trust * (reward + gamma * following(N[s, a], n[s, a]))
        usual = r_s[s] / n_s[s] + gamma * following(N_s[s], n_s[s])
        return value + (1 - trust) * usual

    def following(counts, total):
        return sum(m / total * V[t] for t, m in counts.items() if t is not None)

    for _ in range(sweeps):
        before = dict(V)
        for s, choices in admissible.items():
            V[s] = max((q(s, a) for a in choices), default=0.0)
        if max(abs(V[s] - before[s]) for s in V) < 1e-13:
            break
    Q = {s: {a: q(s, a) for a in choices} for s, choices in admissible.items()}
    default = min(n_a, key=lambda a: (-round(n_a[a], 9), a))
    total = sum(starts.values())
    return {
        "states": sorted(states),
        "actions": actions,
        "V": V,
        "Q": Q,
        "n": dict(n),
        "default": default,
        "starts": {s: w / total for s, w in starts.items()},
        "n_truncated": sum(row["truncated"] for row in rows),
    }


def policy(model, tolerance):
    """Ties go to the most logged action of the state, then to the lowest label."""
    advice = {}
    for s, row in model["Q"].items():
        tied = [a for a in row if row[a] >= max(row.values()) - tolerance]
        advice[s] = min(tied, key=lambda a: (-round(model["n"].get((s, a), 0), 9), a))
    return advice
