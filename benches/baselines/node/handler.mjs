// The click handler as one writes it for Node 20 with the AWS SDK v3. It makes the same calls as `click` for a valid click
// (claim, record, redirect) and leaves out what `click` does besides, as the plain Rust one does.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { ConditionalCheckFailedException, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { KinesisClient, PutRecordCommand } from "@aws-sdk/client-kinesis";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const { CLICKLEDGER_CLAIMS_TABLE, CLICKLEDGER_STREAM, CLICKLEDGER_TOKEN_SECRET, BASELINE_LOCATION } = process.env;

const dynamodb = new DynamoDBClient({});
// By default it speaks HTTP/2, which is for connections with TLS; there is none here.
const kinesis = new KinesisClient({ requestHandler: new NodeHttpHandler() });
const secret = await new SecretsManagerClient({}).send(
  new GetSecretValueCommand({ SecretId: CLICKLEDGER_TOKEN_SECRET }),
);
const key = Buffer.from(JSON.parse(secret.SecretString).signing.at(-1).secret, "base64");

/** The 54 bytes of a token that we have signed (docs/DATA_MODEL.md), or null. */
function verified(token) {
  const bytes = Buffer.from(token, "base64url");
  if (bytes.length !== 54 || bytes[0] !== 1) return null;
  const tag = createHmac("sha256", key).update(bytes.subarray(0, 38)).digest().subarray(0, 16);
  return timingSafeEqual(tag, bytes.subarray(38)) ? bytes : null;
}

export async function handler(event) {
  const { adId, imp } = event.queryStringParameters ?? {};
  if (!adId || !imp) return { statusCode: 400 };
  const token = verified(imp);
  const now = Date.now();
  if (!token || token.readBigUInt64BE(22) !== BigInt(adId) || now > (token.readUInt32BE(2) + 86_400) * 1000) {
    return { statusCode: 403 };
  }
  const impressionId = token.subarray(6, 22);
  const clickId = randomBytes(16);
  clickId.writeUIntBE(now, 0, 6);
  const expires = now + 15 * 86_400_000;
  let duplicateOf;
  try {
    await dynamodb.send(
      new PutItemCommand({
        TableName: CLICKLEDGER_CLAIMS_TABLE,
        Item: {
          impression_id: { B: impressionId },
          click_id: { B: clickId },
          expires_ms: { N: String(expires) },
          expires: { N: String(Math.floor(expires / 1000)) },
        },
        ConditionExpression: "attribute_not_exists(impression_id) OR expires_ms < :now",
        ExpressionAttributeValues: { ":now": { N: String(now) } },
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    duplicateOf = Buffer.from(error.Item.click_id.B).toString("base64url");
  }
  const partitionKey = `${adId}#${impressionId[15] & 1}`;
  const record = {
    v: 1,
    click_id: clickId.toString("base64url"),
    impression_id: impressionId.toString("base64url"),
    ad_id: adId,
    campaign_id: "12",
    advertiser_id: "9",
    placement_id: token.readBigUInt64BE(30).toString(),
    clicked_at_ms: now,
    verdict: duplicateOf ? "duplicate" : "valid",
    duplicate_of: duplicateOf,
    claimed: true,
    partition_key: partitionKey,
    device: "desktop",
    country: "ZZ",
    dwell_ms: Math.max(0, now - impressionId.readUIntBE(0, 6)),
  };
  await kinesis.send(
    new PutRecordCommand({
      StreamName: CLICKLEDGER_STREAM,
      PartitionKey: partitionKey,
      Data: Buffer.from(`${JSON.stringify(record)}\n`),
    }),
  );
  return { statusCode: 302, headers: { location: BASELINE_LOCATION, "cache-control": "no-store" } };
}
