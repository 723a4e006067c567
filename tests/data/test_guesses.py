import numpy as np
import pytest

from fairautoml.data.noisy_groups import N_DRAWS, consensus, learn_guess, quick_agreement
from fairautoml.exceptions import InputError
from fairautoml.metrics.rates import FPR, SELECTION, TPR

ERRORS = ((0.8, 0.2), (0.3, 0.7))
RATES = {"selection": (SELECTION,), "tpr": (TPR,), "fpr": (FPR,), "both": (TPR, FPR)}


def exact_individuals(n=200_000):
    """Rows with exactly these shares: hidden group, label, guess; and P(accepted) of each."""
    shares = np.array([0.6, 0.4])
    labels = np.array([[0.7, 0.3], [0.5, 0.5]])
    accepted = np.array([[0.1, 0.7], [0.3, 0.9]])
    mass = shares[:, None, None] * labels[:, :, None] * np.array(ERRORS)[:, None, :]
    counts = np.rint(mass * n).astype(int)
    group, y, said = (np.repeat(part.ravel(), counts.ravel()) for part in np.indices((2, 2, 2)))
    return group, y, said, accepted[group, y]


def counts_of(y, said, accepted):
    counts = np.zeros((2, 2, 2))
    np.add.at(counts, (y, said, 1), accepted)
    np.add.at(counts, (y, said, 0), 1 - accepted)
    return counts


def true_gap(rates, group, y, accepted):
    within = {SELECTION: y >= 0, TPR: y == 1, FPR: y == 0}
    return max(
        abs(
            accepted[within[rate] & (group == 1)].mean()
            - accepted[within[rate] & (group == 0)].mean()
        )
        for rate in rates
    )


def known(y, said, errors=ERRORS):
    return learn_guess({"guess": said}, y, errors=errors, rng=np.random.default_rng(0))


def three(n, accuracies, seed):
    rng = np.random.default_rng(seed)
    group = (rng.random(n) < 0.4).astype(int)
    y = (rng.random(n) < np.where(group == 1, 0.5, 0.3)).astype(int)
    said = {
        f"p{at}": np.where(rng.random(n) < right, group, 1 - group)
        for at, right in enumerate(accuracies)
    }
    return group, y, said, rng


@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_the_gap_of_guesses_is_the_hidden_one_times_its_factor(rates):
    group, y, said, accepted = exact_individuals()
    guess = known(y, said)
    plain, corrected = guess.gap_of(rates, counts_of(y, said, accepted))
    gaps = [true_gap((rate,), group, y, accepted) for rate in rates]
    assert plain == pytest.approx(max(gaps * guess.factors(rates)), abs=1e-4)
    assert corrected == pytest.approx(max(gaps), abs=1e-4)
    assert plain < corrected


def test_the_factor_is_that_of_the_paper_s_correction():
    _, y, said, _ = exact_individuals()
    said_1 = said.mean()
    expected = 0.6 * 0.4 * (0.8 + 0.7 - 1) / (said_1 * (1 - said_1))
    assert known(y, said).factors((SELECTION,)) == pytest.approx([expected], abs=1e-4)
    assert known(y, said).shares() == pytest.approx([0.6, 0.4], abs=1e-4)


def test_a_perfect_guess_shrinks_nothing():
    group, y, _, _ = exact_individuals()
    errors = [[1.0, 0.0], [0.0, 1.0]]
    assert known(y, group, errors).factors((TPR, FPR)) == pytest.approx([1.0, 1.0])


def test_three_guesses_tell_which_is_best_and_how_it_errs():
    _, y, said, rng = three(60_000, (0.7, 0.85, 0.75), 1)
    guess = learn_guess(said, y, rng=rng)
    assert guess.name == "p1"
    assert guess.estimated
    for errors in guess.errors:
        np.testing.assert_allclose(errors, [[0.85, 0.15], [0.15, 0.85]], atol=0.03)


def test_the_closed_form_is_the_least_squares_fit():
    rng = np.random.default_rng(3)
    for seed in range(4):
        _, _, said, _ = three(3000, rng.uniform(0.7, 0.95, 3), seed)
        table = np.zeros((2, 2, 2))
        np.add.at(table, tuple(said.values()), 1.0)
        np.testing.assert_allclose(quick_agreement(table), consensus(table).errors, atol=1e-5)


def test_the_interval_of_a_corrected_gap_holds_the_hidden_one():
    inside = 0
    for seed in range(20):
        group, y, said, rng = three(3000, (0.8, 0.75, 0.75), seed)
        accepted = (rng.random(3000) < np.where(group == 1, 0.6, 0.4)).astype(float)
        guess = learn_guess(said, y, rng=rng)
        counts = counts_of(y, said[guess.name], accepted)
        draws = guess.drawn_gaps((SELECTION,), counts, rng)
        fresh = guess.drawn_gaps_of_new((SELECTION,), counts, rng)
        assert draws.shape == fresh.shape == (N_DRAWS,)
        low, high = np.quantile(draws, [0.025, 0.975])
        inside += low <= 0.2 <= high
    # Of twenty at 95 %, 16 or fewer happen once in 250 times.
    assert inside >= 17


def test_redrawn_rows_in_which_guesses_are_chance_may_hide_any_gap():
    group, y, said, rng = three(250, (0.75, 0.7, 0.7), 12)
    guess = learn_guess(said, y, rng=rng)
    draws = guess.drawn_gaps((SELECTION,), counts_of(y, said[guess.name], 0.5 * group), rng)
    unknown = np.isnan(guess.drawn_errors[2]).any(axis=(1, 2))
    assert unknown.any()
    assert (draws[unknown] == 1.0).all()


def test_rows_without_a_guess_are_counted_and_left_out():
    _, y, said, rng = three(5000, (0.85, 0.8, 0.75), 0)
    said["p2"] = np.where(np.arange(5000) < 700, None, said["p2"].astype(object))
    guess = learn_guess(said, y, rng=rng)
    assert (guess.n_rows, guess.n_dropped) == (4300, 700)


def test_errors_that_the_rows_contradict_are_refused():
    _, y, said, _ = exact_individuals()
    guess = known(y, np.where(said == 1, said, 0), [[0.5, 0.5], [0.05, 0.95]])
    with pytest.raises(InputError, match=r"which the errors .* do not allow. Give more rows"):
        guess.factors((SELECTION,))


def test_probabilities_of_a_group_are_no_guesses_of_it():
    _, y, _, rng = three(2000, (0.9, 0.9, 0.9), 0)
    with pytest.raises(InputError, match=r"3 columns hold 6000 different values.*p > 0\.5"):
        learn_guess(rng.uniform(size=(2000, 3)), y, rng=rng)


def test_errors_by_decision_are_refused_before_there_are_decisions():
    _, y, said, _ = exact_individuals(1000)
    with pytest.raises(InputError, match=r"proxy_errors has shape \(2, 2, 2\).*give one of shape"):
        known(y, said, [ERRORS, ERRORS])


def test_more_than_two_groups_are_refused_with_the_way_out():
    _, y, said, rng = three(600, (0.9, 0.9, 0.9), 0)
    said["p0"] = np.where(np.arange(600) < 50, 2, said["p0"])
    with pytest.raises(InputError, match=r"name 3 groups \('0', '1', '2'\).*weak_proxy_gap"):
        learn_guess(said, y, rng=rng)


def test_guesses_by_chance_are_refused():
    _, y, said, rng = three(2000, (0.9, 0.8, 0.5), 2)
    with pytest.raises(InputError, match="'p0' and 'p2' agree no more than by chance"):
        learn_guess(said, y, rng=rng)


def test_two_guesses_do_not_tell_how_they_err():
    _, y, said, rng = three(500, (0.9, 0.9), 0)
    with pytest.raises(InputError, match=r"2 column\(s\) and errors is not given: not identified"):
        learn_guess(said, y, rng=rng)
