"""What is known of a sweep: its facts, its ledger while somebody writes it, and the best trial."""

import math

from stoker.tracking.record import RunFolder
from stoker.tracking.run import State
from stoker.tracking.trials import Ledger, LedgerReader, SweepFacts, best_trial, read_facts, read_trials, write_facts

FACTS = SweepFacts("accuracy/val", "max", (("accuracy/val", "max"), ("parameters", "min")), 40, 4, ("training.epochs",))


def test_facts_are_read_as_they_were_written(tmp_path):
    folder = RunFolder(tmp_path)
    assert read_facts(folder) is None
    write_facts(folder, FACTS)
    assert read_facts(folder) == FACTS
    assert list(FACTS.goals) == ["accuracy/val", "parameters"]


def test_facts_of_a_newer_version_are_read_as_far_as_they_are_known(tmp_path):
    (tmp_path / "sweep.json").write_text('{"metric": "loss/val", "direction": "min", "trials": null, "new": 1}')
    assert read_facts(RunFolder(tmp_path)) == SweepFacts("loss/val", "min")


def test_a_reader_takes_each_line_once_while_the_ledger_grows(tmp_path):
    path = tmp_path / "trials.jsonl"
    reader = LedgerReader(path)
    assert reader.read() == []
    ledger = Ledger(path)
    ledger.begin(0, {}, {"training.epochs": 3})
    assert [trial.state for trial in reader.read()] == [State.RUNNING]
    ledger.report(0, 1, 10, {"accuracy/val": 0.5})
    with path.open("a") as file:
        file.write('{"half')
    assert reader.read() == reader.read() == read_trials(path)
    assert reader.read()[0].epoch == 1
    ledger.close()


def test_the_best_trial_has_a_finite_value_and_has_not_failed(tmp_path):
    ledger = Ledger(tmp_path / "trials.jsonl")
    values = {0: (math.nan, State.SUCCEEDED), 1: (0.99, State.FAILED), 2: (0.98, State.CANCELLED)}
    for number, (value, state) in values.items():
        ledger.begin(number, {}, {})
        ledger.report(number, 1, 10, {"accuracy/val": value})
        ledger.end(number, state, {})
    assert best_trial([*ledger.trials.values()], FACTS) is None
    ledger.begin(3, {}, {})
    ledger.report(3, 1, 10, {"accuracy/val": 0.1})
    best = best_trial([*ledger.trials.values()], FACTS)
    assert best is not None
    assert best.number == 3
    ledger.close()
