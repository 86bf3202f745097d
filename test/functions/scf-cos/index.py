"""Use the COS SDK under the name that SCF gives it. It has to be installed, or
shipped with the code: `pip install cos-python-sdk-v5`.

    $ build/pyaction --code test/functions/scf-cos index.main_handler
    $ curl -d '{"bucket": "photos-1250000000"}' \
        -H 'X-Scf-Secret-Id: id' -H 'X-Scf-Secret-Key: key' \
        -H 'X-Scf-Session-Token: token' http://127.0.0.1:9000/event-invoke
    "https://photos-1250000000.cos.ap-guangzhou.myqcloud.com/a.jpg?..."
"""

import os

import qcloud_cos_v5
from qcloud_cos_v5 import CosConfig 
from qcloud_cos_v5 import CosS3Client


def main_handler(event, context):
    config = CosConfig(
        Region=context["tencentcloud_region"],
        SecretId=os.environ["TENCENTCLOUD_SECRETID"],
        SecretKey=os.environ["TENCENTCLOUD_SECRETKEY"],
        Token=os.environ["TENCENTCLOUD_SESSIONTOKEN"],
    )
    client = CosS3Client(config)
    return client.get_presigned_url(
        Method="GET", Bucket=event["bucket"], Key="a.jpg", Expired=600
    )
