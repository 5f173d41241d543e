"""NomadCrew on AWS: a CDK app, the packages of its functions, and the deployment of both."""
