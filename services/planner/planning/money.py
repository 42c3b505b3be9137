"""Costs, by hand-checkable arithmetic."""

from dataclasses import dataclass

HOURS_PER_MONTH = 730.0
SECONDS_PER_HOUR = 3_600.0


def cost_per_million(cost_per_hour: float, tokens_per_s: float) -> float:
    """Dollars for a million tokens; infinite without any. $12 an hour at 5 000 tokens/s is $0.67."""
    per_hour = tokens_per_s * SECONDS_PER_HOUR
    return cost_per_hour / per_hour * 1e6 if per_hour > 0 else float("inf")


def break_even(cost_per_month: float, price: float) -> float:
    """Units a month from which on one's own fleet is cheaper than paying for each; infinite for free ones.

    $10 640 a month against $0.0085 a request is 1.25 million requests.
    """
    return cost_per_month / price if price > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """What somebody else's API takes for a million tokens, in dollars."""

    prompt: float
    output: float

    def per_request(self, prompt_tokens: float, output_tokens: float) -> float:
        """Of one request, in dollars."""
        return (self.prompt * prompt_tokens + self.output * output_tokens) / 1e6


@dataclass(frozen=True, slots=True)
class Costs:
    """A fleet's costs, GPUs and overheads apart."""

    gpus: float
    price_per_gpu_hour: float
    overhead_per_hour: float = 0.0
    """Hosts without GPUs, network, storage; dollars."""
    operations_hours_per_month: float = 0.0
    operations_price_per_hour: float = 0.0

    @property
    def gpus_per_hour(self) -> float:
        """Dollars an hour for the GPUs."""
        return self.gpus * self.price_per_gpu_hour

    @property
    def operations_per_month(self) -> float:
        """Dollars a month for people."""
        return self.operations_hours_per_month * self.operations_price_per_hour

    @property
    def per_hour(self) -> float:
        """Dollars an hour, all included."""
        people = self.operations_per_month / HOURS_PER_MONTH
        return self.gpus_per_hour + self.overhead_per_hour + people

    @property
    def per_month(self) -> float:
        """Dollars a month, all included."""
        return (self.gpus_per_hour + self.overhead_per_hour) * HOURS_PER_MONTH + self.operations_per_month
