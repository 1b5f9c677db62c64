"""An alarm that tells a person what to do."""

from aws_cdk import aws_cloudwatch, aws_cloudwatch_actions, aws_sns
from constructs import Construct


class Alarm(Construct):
    """Rings a topic when a figure is beyond its bound in two of three periods, and when that is over."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        topic: aws_sns.ITopic,
        metric: aws_cloudwatch.IMetric,
        above: float | None = None,
        below: float | None = None,
        what_to_do: str,
        silence_is_bad: bool = False,
    ) -> None:
        """`silence_is_bad` where a figure that stays away is as bad as a wrong one."""
        super().__init__(scope, construct_id)
        threshold = above if above is not None else below
        assert threshold is not None, "an alarm needs a bound"  # noqa: S101
        comparisons = aws_cloudwatch.ComparisonOperator
        missing = aws_cloudwatch.TreatMissingData
        alarm = aws_cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_name=name,
            alarm_description=what_to_do,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparisons.GREATER_THAN_THRESHOLD
            if above is not None
            else comparisons.LESS_THAN_THRESHOLD,
            evaluation_periods=3,
            datapoints_to_alarm=2,
            treat_missing_data=missing.BREACHING if silence_is_bad else missing.NOT_BREACHING,
        )
        action = aws_cloudwatch_actions.SnsAction(topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)
