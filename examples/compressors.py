"""The firm of examples 06 and 10, which rents out compressors: what nobody there knows."""

import numpy as np
import pandas as pd

# Wear and heat make failures likely, heat speeds up
# wear, a service cools, and what fails is replaced. Humidity is measured, and means nothing.
N_COMPRESSORS, N_MONTHS = 600, 24
FAILED, REPLACED, SERVICED, RAN = -100, -30, 5, 10  # thousand euro a month


def logistic(x):
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def simulate(decide, n_compressors, seed):
    """Return the log of compressors for which ``decide`` answers measurements with actions."""
    rng = np.random.default_rng(seed)

    def measure(wear, temperature):
        humidity = rng.normal(50, 10, n_compressors)
        return pd.DataFrame({"wear": wear, "temperature": temperature, "humidity": humidity})

    now = measure(rng.uniform(0, 80, n_compressors), rng.normal(65, 8, n_compressors))
    months = []
    for month in range(N_MONTHS):
        action = decide(now)
        wear, temperature = now["wear"].to_numpy(), now["temperature"].to_numpy()
        risk = logistic(0.12 * (wear - 90) + 0.3 * (temperature - 82))
        fails = (rng.random(n_compressors) < risk) & (action != "replace")
        wears = rng.gamma(2, 6, n_compressors) * np.exp((temperature - 65) / 25)
        heats = 50 + 0.8 * (temperature - 50) + rng.normal(6, 6, n_compressors)
        following = measure(
            np.where(
                fails | (action == "replace"),
                rng.gamma(2, 2, n_compressors),
                np.minimum(wear + wears, 100),
            ),
            np.where(fails | (action != "run"), rng.normal(57, 4, n_compressors), heats),
        )
        reward = np.select(
            [fails, action == "replace", action == "service"], [FAILED, REPLACED, SERVICED], RAN
        )
        months.append(
            now.assign(
                episode=range(n_compressors),
                step=month,
                action=action,
                reward=reward,
                **following.add_prefix("next_"),  # also in the last month: nothing ends there
            )
        )
        now = following
    return pd.concat(months).sort_values(["episode", "step"], ignore_index=True)


def make_habit(seed):
    """Return how the firm decides: by gauge, but loosely, so that the log holds all sorts."""
    rng = np.random.default_rng(seed)

    def decide(now):
        replaces = 0.06 + 0.25 * logistic((now["wear"] - 70) / 8)
        services = 0.15 + 0.3 * logistic((now["temperature"] - 75) / 4)
        return np.select(
            [rng.random(len(now)) < replaces, rng.random(len(now)) < services],
            ["replace", "service"],
            "run",
        )

    return decide


def true_return(decide):
    """Return what a compressor really earns, over new ones: the same for all who decide."""
    return simulate(decide, 2000, seed=99)["reward"].sum() / 2000
