"""What is known of a sweep: its facts, its ledger while somebody writes it, and the best trial."""

import math

from stoker.tracking.ledger import Ledger, LedgerReader, read_trials
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import SweepFacts, best_trial, read_facts, write_facts

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


def test_a_trial_that_took_over_another_s_weights_is_as_good_as_they_are(tmp_path):
    ledger = Ledger(tmp_path / "trials.jsonl")
    for number, values in enumerate([(0.9, 0.7), (0.6, 0.8)]):
        ledger.begin(number, {"lr": number}, {"lr": number})
        for epoch, value in enumerate(values, 1):
            ledger.report(number, epoch, 10 * epoch, {"accuracy/val": value})
    assert ledger.trials[0].score("accuracy/val", "max") == 0.9
    ledger.change(0, {"lr": 2}, {"lr": 2}, 1, "copies/1")
    ledger.report(1, 3, 30, {"accuracy/val": 0.95})  # the other goes on without it
    assert not ledger.report(0, 2, 20, {"accuracy/val": 0.99})
    ledger.report(0, 3, 30, {"accuracy/val": 0.81})
    ledger.close()
    trial = read_trials(tmp_path / "trials.jsonl")[0]
    assert [report.metrics["accuracy/val"] for report in trial.reports] == [0.9, 0.7, 0.81]
    assert [report.metrics["accuracy/val"] for report in trial.lineage] == [0.6, 0.8, 0.81]
    assert trial.score("accuracy/val", "max") == 0.81
    assert (trial.values, trial.changes[0].epoch, trial.changes[0].source) == ({"lr": 2}, 2, 1)
