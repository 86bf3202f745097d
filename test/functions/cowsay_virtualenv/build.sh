#!/bin/bash

set -e

virtualenv --without-pip virtualenv

# The name of the folder tells the Python version: 3.9 or 3.11 on DigitalOcean.
pip install -r requirements.txt --target virtualenv/lib/python3.*/site-packages
