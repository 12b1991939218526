"""From where on a score is that of an anomaly, what is measured of scores, and how far features are apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from stoker.architectures.pictures.normal_features import Bank, Gaussian, coreset
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.inference.model import Model, save_model
from stoker.job.training import Training
from stoker.tasks.pictures.one_class import OneClass, chosen_threshold
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.transfer import load_weights


def test_the_threshold_is_a_quantile_of_normal_scores_or_has_the_best_f1():
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 2.0])
    odd = torch.tensor([False, False, False, False, False, True, True])
    assert chosen_threshold(scores, odd, 0.5) == pytest.approx(0.3)
    assert chosen_threshold(scores[:5], odd[:5], None) == pytest.approx(0.8)  # 0.95 of them pass
    best = chosen_threshold(scores, odd, None)
    assert 0.4 < best < 0.5
    every = [f1_score(odd, scores > threshold) for threshold in np.linspace(0, 2, 200)]
    assert f1_score(odd, scores > best) == pytest.approx(max(every))


def test_metrics_are_those_of_scikit_learn_however_large_scores_are(task_of, rows):
    rng = torch.Generator().manual_seed(0)
    odd = torch.rand(200, generator=rng) < 0.3
    scores = (torch.rand(200, 1, generator=rng) * 8 + 4 * odd.unsqueeze(1)).round() / 4  # some are equal
    metrics, other = (task_of("anomaly-detection").metrics(200) for _ in range(2))
    target = torch.where(odd, -1, 1)
    for each, part in ((metrics, slice(0, 70)), (other, slice(70, 200))):
        each.update(scores[part].repeat(1, 73), rows({"image": torch.zeros(200, 1, 9, 8)[part]}, target[part]))
    metrics.merge(other.state())
    assert metrics.compute() == {
        "auroc": pytest.approx(roc_auc_score(odd, scores[:, 0])),
        "average_precision": pytest.approx(average_precision_score(odd, scores[:, 0])),
        "f1": pytest.approx(f1_score(odd, scores[:, 0] > 1)),
    }


def test_a_bank_keeps_what_is_far_from_all_kept_and_tells_the_distance_to_the_nearest():
    features = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [0.0, 8.0], [9.1, 0.0]])
    assert coreset(features, 3).tolist() == [0, 4, 3]
    bank = Bank(3, 2, neighbours=1)
    bank.learn(features.unsqueeze(1))
    asked = torch.tensor([[[0.0, 1.0]], [[9.1, 4.0]]])
    assert bank.distances(asked).tolist() == [[1.0], [4.0]]
    assert bank.difference(asked.squeeze(1)).tolist() == [[0.0, 1.0], [0.0, 4.0]]


def test_a_normal_distribution_tells_the_distance_in_its_deviations():
    drawn = torch.randn(4000, 1, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0])
    known = Gaussian(1, 2)
    known.learn(drawn)
    far = known.distances(torch.tensor([[[3.0, 0.0]], [[0.0, 15.0]]]))
    torch.testing.assert_close(far, torch.full((2, 1), 3.0), atol=0.2, rtol=0)


@pytest.fixture(scope="module", params=["feature-distance", "patches", "autoencoder"])
def found(request, make_job, tiny_data, tmp_path_factory):
    """A model that has learnt images bright at the left or at the right; the others are dark."""
    network = {"family": request.param, "channels": [8, 16]}
    if request.param == "patches":
        network |= {"family": "feature-distance", "level": "patches"}
    job = make_job(
        "anomaly-detection",
        tiny_data("anomaly-detection"),
        architecture=network,
        training={"epochs": 20, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1e-2}},
    )
    assembly = assemble(prepare(job))
    *_, end, _ = train("r", start(assembly))
    folder = tmp_path_factory.mktemp("found")
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Model.load(folder), end


def test_images_of_another_kind_are_found_and_drawn_with_their_heat(found, tiny_data):
    model, end = found
    assert end.metrics["auroc/val"] > 0.95
    content = np.load(tiny_data("anomaly-detection")["source"])
    answers = model.predict(content["image"])
    odd = content["label"] == "dark"
    assert answers.table[~odd]["prediction"].eq("normal").mean() >= 0.9
    assert answers.table[odd]["prediction"].eq("anomaly").mean() >= 0.9
    assert (answers.table["score"] > 1).eq(answers.table["prediction"] == "anomaly").all()
    assert answers.images.shape == (70, 8, 8, 1)
    assert answers.images[odd].mean() > answers.images[~odd].mean()
    row = answers.table.iloc[-1].to_dict()
    drawn = model.task.annotated(content["image"][-1][..., None], row, answers.images[-1])
    assert drawn.shape[2] == 3
    assert drawn[:128, :, 0].mean() > drawn[:128, :, 1].mean()  # red over grey


def test_a_network_that_judges_nothing_is_refused():
    with pytest.raises(JobError, match="the network finds no anomalies: it needs `losses"):
        OneClass(torch.nn.Linear(2, 2), Training().threshold)


def test_an_image_without_a_label_has_an_answer(task_of):
    answers = task_of("anomaly-detection").answers(torch.tensor([[0.5] * 73, [1.5] * 73]), Records({}))
    expected = pd.DataFrame({"prediction": ["normal", "anomaly"], "score": [0.5, 1.5]})
    pd.testing.assert_frame_equal(answers.table, expected, check_dtype=False)


def test_features_may_be_those_of_an_earlier_classifier(make_job, tiny_data, tmp_path):
    classifier = make_job("image-classification", tiny_data("image-classification"), architecture={"family": "cnn"})
    earlier = assemble(prepare(classifier))
    save_model(tmp_path, earlier.job, earlier.data.fields, earlier.objective, earlier.data.fingerprint)
    network = {"family": "feature-distance", "frozen": True}
    later = assemble(prepare(make_job("anomaly-detection", tiny_data("anomaly-detection"), architecture=network)))
    left = load_weights(later.objective, tmp_path)
    assert not [name for name in left if name.startswith("stages.")]
    for name, weight in earlier.objective.network.stages.state_dict().items():
        assert torch.equal(later.objective.network.stages.state_dict()[name], weight)
    assert not any(weight.requires_grad for weight in later.objective.network.stages.parameters())
