"""A name of the shop's own for the API."""

from aws_cdk import aws_apigateway, aws_certificatemanager, aws_route53, aws_route53_targets
from constructs import Construct

from infra.config import Config


class CustomDomain(Construct):
    """The name and its certificate; the record, too, where a zone in Route 53 is given."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, api: aws_apigateway.RestApi
    ) -> None:
        super().__init__(scope, construct_id)
        assert config.domain_name is not None  # noqa: S101 - asked by who calls
        assert config.domain_certificate is not None  # noqa: S101 - checked by Config
        self.domain = aws_apigateway.DomainName(
            self,
            "Domain",
            domain_name=config.domain_name,
            certificate=aws_certificatemanager.Certificate.from_certificate_arn(
                self, "Certificate", config.domain_certificate
            ),
            endpoint_type=aws_apigateway.EndpointType.REGIONAL,
            security_policy=aws_apigateway.SecurityPolicy.TLS_1_2,
        )
        self.domain.add_base_path_mapping(api, stage=api.deployment_stage)
        if config.hosted_zone_id is not None and config.hosted_zone_name is not None:
            zone = aws_route53.HostedZone.from_hosted_zone_attributes(
                self, "Zone", hosted_zone_id=config.hosted_zone_id, zone_name=config.hosted_zone_name
            )
            aws_route53.ARecord(
                self,
                "Record",
                zone=zone,
                record_name=config.domain_name,
                target=aws_route53.RecordTarget.from_alias(aws_route53_targets.ApiGatewayDomain(self.domain)),
            )
