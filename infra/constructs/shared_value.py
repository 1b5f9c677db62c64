"""A value that other stacks read anew at each deployment."""

from aws_cdk import Stack, aws_ssm
from constructs import Construct, IConstruct


class SharedValue(Construct):
    """Kept in Parameter Store, for what may be replaced: an export in use can't be changed."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, value: str) -> None:
        super().__init__(scope, construct_id)
        self._name, self._value = name, value
        aws_ssm.StringParameter(self, "Parameter", parameter_name=name, string_value=value)

    def read(self, reader: IConstruct) -> str:
        """The value, for a construct of any stack that depends on this one."""
        stack = Stack.of(reader)
        if stack == Stack.of(self):
            return self._value
        return aws_ssm.StringParameter.value_for_string_parameter(stack, self._name)
