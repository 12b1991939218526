"""Settings of `perceptron`."""

from typing import Literal

from stoker.job.section import Section


class Perceptron(Section):
    """A single linear layer (Rosenblatt 1958): it separates only what a plane separates."""

    family: Literal["perceptron"]
    """The network family."""
