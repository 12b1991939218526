from stoker.job.job import Job


def job_of(architecture: object, **text: object) -> Job:
    dataset = {"source": "texts.csv", "text": text}
    return Job.model_validate({"task": "text-classification", "dataset": dataset, "architecture": architecture})


def test_texts_are_cut_by_the_tokenizer_of_a_pretrained_network_unless_another_is_named():
    network = {"family": "pretrained", "model": "my/model"}
    assert job_of(network).dataset_to_load.text.tokenizer == "my/model"
    assert job_of(network).dataset.text.tokenizer is None
    assert job_of(network, tokenizer="other").dataset_to_load.text.tokenizer == "other"
    assert job_of(network, length=9).dataset_to_load.text.length == 9
    assert job_of("rnn").dataset_to_load == job_of("rnn").dataset
