import pytest

from stoker.errors import CAUSES, Cause, Retry
from stoker.execution.retry import Action, Failure, decide

MIDDLE = 0.5


def failed(cause, step=10, checkpoint=0, died=False, micro_batch=0):
    return Failure(cause, f"what happened at {step}", step, checkpoint, died, micro_batch)


def action(*history, retries=3):
    return decide(history, retries, MIDDLE).action


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.NEVER])
def test_a_deterministic_failure_is_never_retried(cause):
    decision = decide([failed(cause, micro_batch=64)], 3, MIDDLE)
    assert (decision.action, decision.cause, decision.message) == (Action.END, cause, "what happened at 10")


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.AGAIN])
def test_an_infrastructure_failure_is_retried_until_the_budget_is_spent(cause):
    history = [failed(cause, step) for step in (1, 2, 3, 4)]
    assert [action(*history[:number]) for number in (1, 2, 3)] == [Action.AGAIN] * 3
    last = decide(history, 3, MIDDLE)
    assert (last.action, last.cause) == (Action.END, cause)
    assert "3 more attempts made no progress" in last.message


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.AGAIN])
def test_a_newer_checkpoint_restores_the_budget(cause):
    history = [failed(cause, step, checkpoint=step - 1) for step in range(1, 50)]
    assert action(*history, retries=1) is Action.AGAIN


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.ONCE])
def test_a_user_error_is_retried_unless_it_repeats_at_the_same_step(cause):
    assert action(failed(cause, 7)) is Action.AGAIN
    assert action(failed(cause, 7), failed(cause, 7)) is Action.END
    assert action(failed(cause, 7), failed(cause, 9)) is Action.AGAIN
    assert action(failed(Cause.INFRASTRUCTURE, 7), failed(cause, 7)) is Action.AGAIN


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.ONCE])
def test_user_errors_at_different_steps_end_the_run_eventually(cause):
    assert action(*[failed(cause, step) for step in range(4)]) is Action.END


@pytest.mark.parametrize("cause", [cause for cause in Cause if CAUSES[cause].retried is Retry.SMALLER])
def test_a_lack_of_memory_halves_the_micro_batch_until_it_is_1(cause):
    assert action(*[failed(cause, micro_batch=size) for size in (64, 32, 16, 8, 4, 2)]) is Action.SMALLER
    assert action(failed(cause, micro_batch=2), failed(cause, micro_batch=1)) is Action.END
    assert action(failed(cause, micro_batch=0)) is Action.END


@pytest.mark.parametrize("cause", Cause)
def test_without_retries_every_failure_is_the_last(cause):
    assert action(failed(cause, micro_batch=64), retries=0) is Action.END


def test_three_deaths_at_one_step_are_a_crash_loop():
    death = failed(Cause.INFRASTRUCTURE, 57, checkpoint=40, died=True)
    assert action(death, death, retries=9) is Action.AGAIN
    decision = decide([death, death, death], 9, MIDDLE)
    assert (decision.action, decision.cause) == (Action.END, Cause.CRASH_LOOP)
    assert "after step 57" in decision.message


def test_deaths_at_different_steps_are_no_crash_loop():
    deaths = [failed(Cause.INFRASTRUCTURE, step, died=True) for step in (57, 58, 57)]
    assert action(*deaths, retries=9) is Action.AGAIN
    assert action(*[failed(Cause.INFRASTRUCTURE, 57) for _ in range(3)], retries=9) is Action.AGAIN


def test_the_first_retry_is_immediate_and_later_ones_back_off():
    history = [failed(Cause.INFRASTRUCTURE, step) for step in range(9)]
    waits = [decide(history[:number], 100, MIDDLE).wait_s for number in range(1, 9)]
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30]
    assert [decide(history[:2], 100, chance).wait_s for chance in (0, 1)] == [0.75, 1.25]
    moving = [failed(Cause.INFRASTRUCTURE, step, checkpoint=step) for step in range(9)]
    assert decide(moving, 100, MIDDLE).wait_s == 0
