"""What NomadCrew is on AWS: a CDK app, the packages of its functions, and how both are deployed."""
