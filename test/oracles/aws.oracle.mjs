// @smithy/signature-v4 and the AWS SDK against our SigV4, our STS sources and our Bedrock routes.
import { createHash, createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
} from '@aws-sdk/client-bedrock-runtime'
import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  GetSessionTokenCommand,
  STSClient,
} from '@aws-sdk/client-sts'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { SignatureV4 } from '@smithy/signature-v4'
import { Secret } from '../../src/core/secret.ts'
import { presignQuery, signRequest } from '../../src/core/sigv4.ts'
import { awsKeys } from '../../src/lab/aws.ts'
import { awsBedrock } from '../../src/providers/aws-bedrock.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startRouter } from '../support/in-process-router.ts'
import { callsOf, mustAgree, ourCalls } from './compare.mjs'

const NOW_MS = Date.UTC(2026, 10, 25, 12, 34, 56)
const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const ARN = 'arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0'
const BODY = '{"messages":[{"role":"user","content":[{"text":"grüß dich"}]}]}'

/** What the SDK says of itself and of its tries. */
const SDK = [
  ['header accept', 'asked for JSON, STS would answer in another form; ours says what it reads'],
  ['header amz-sdk-invocation-id', 'a number of the SDK’s for its own retries'],
  ['header amz-sdk-request', 'the count of the SDK’s retries'],
  ['header x-amz-user-agent', 'each names itself'],
]

/** Over what the SDK has signed. */
const SDK_SIGNED = [
  ['header x-amz-content-sha256', 'only S3 demands it'],
  ['signed x-amz-content-sha256', 'only S3 demands it'],
  ['signed amz-sdk-*', 'headers of the SDK’s'],
  ['signed x-amz-user-agent', 'a header of the SDK’s'],
  ['signed content-length', 'AWS does not demand it'],
]

const sha256 = {
  hash: content => createHash('sha256').update(content).digest('hex'),
  hmac: (key, text) => createHmac('sha256', key).update(text).digest(),
}

class Sha256Hash {
  constructor(key) {
    this.hash = key === undefined ? createHash('sha256') : createHmac('sha256', key)
  }
  update(chunk) {
    this.hash.update(chunk)
  }
  async digest() {
    return new Uint8Array(this.hash.digest())
  }
}

/** Name, path as sent, query as sent, headers besides host. */
const REQUESTS = [
  ['a plain path', '/model/anthropic.claude-v2/invoke', '', {}],
  ['a model id with a colon', `/model/${encodeURIComponent(CLAUDE)}/converse`, '', {}],
  ['a model id with colons and a slash', `/model/${encodeURIComponent(ARN)}/invoke`, '', {}],
  ['an empty path', '/', '', {}],
  ['a path with encoded spaces and umlauts', '/a%20b/%C3%BC', '', {}],
  ['characters that only AWS encodes', "/model/a!b'c(d)e*f~g/invoke", '', {}],
  ['a query out of order', '/', 'b=2&a=1&A=3&c=', {}],
  ['a query with a repeated name', '/', 'a=2&a=1', {}],
  ['a query of encoded characters', '/', 'x=a%20b%2Fc%3Ad&y=%C3%BC', {}],
  [
    'headers that are signed',
    '/x',
    '',
    { 'content-type': 'application/json', 'x-amzn-bedrock-trace': 'ENABLED' },
  ],
  ['header values with spaces', '/x', '', { 'x-amz-meta': '  two   spaces  ' }],
]

export const awsCases = [
  ...REQUESTS.flatMap(([name, ...request]) => [
    [`aws: signature over ${name}`, () => sameSignature(request, null)],
    [`aws: signature over ${name}, with a session`, () => sameSignature(request, 'IQoJ+/==')],
    [`aws: presigned, ${name}`, () => samePresigned(request, 'IQoJ+/==')],
  ]),
  ['aws: GetSessionToken', lab => session(lab, { command: GetSessionTokenCommand })],
  ['aws: AssumeRole', lab => session(lab, { command: AssumeRoleCommand, hasRole: true })],
  ['aws: AssumeRoleWithWebIdentity', webIdentity],
  ['aws: the Bedrock client through a router', bedrockClient],
]

function keysOf(sessionToken) {
  return { accessKeyId: 'AKIAMADEUP', secretAccessKey: 'made/up+secret', sessionToken }
}

function signer(sessionToken) {
  const { accessKeyId, secretAccessKey } = keysOf(null)
  return new SignatureV4({
    ...{ service: 'bedrock', region: 'us-east-1', sha256: Sha256Hash, applyChecksum: false },
    credentials: {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === null ? {} : { sessionToken }),
    },
  })
}

function theirRequest([target, query, headers]) {
  const parameters = {}
  for (const [name, value] of new URLSearchParams(query)) {
    const before = parameters[name]
    parameters[name] = before === undefined ? value : [before, value].flat()
  }
  return {
    ...{
      method: 'POST',
      protocol: 'https:',
      hostname: 'bedrock.example',
      path: target,
      query: parameters,
    },
    ...{ headers: { host: 'bedrock.example', ...headers }, body: BODY },
  }
}

function ourRequest([target, query, headers], body) {
  return {
    ...{ method: 'POST', path: target, query, bodyHash: sha256.hash(body) },
    headers: new Map(Object.entries({ host: 'bedrock.example', ...headers })),
  }
}

function signing(sessionToken) {
  const { accessKeyId, secretAccessKey } = keysOf(null)
  return {
    keys: {
      accessKeyId,
      secretAccessKey: new Secret(secretAccessKey),
      sessionToken: sessionToken === null ? null : new Secret(sessionToken),
    },
    scope: { service: 'bedrock', region: 'us-east-1', nowMs: NOW_MS },
  }
}

async function sameSignature(request, sessionToken) {
  const signingDate = new Date(NOW_MS)
  const signed = await signer(sessionToken).sign(theirRequest(request), { signingDate })
  const added = signRequest(sha256, ourRequest(request, BODY), signing(sessionToken))
  for (const [name, value] of added) same(name, signed.headers[name], value)
}

async function samePresigned(request, sessionToken) {
  const signingDate = new Date(NOW_MS)
  const theirs = { ...theirRequest(request), body: '' }
  const { query } = await signer(sessionToken).presign(theirs, {
    ...{ signingDate, expiresIn: 900, unhoistableHeaders: new Set(Object.keys(request[2])) },
    signableHeaders: new Set(['host', ...Object.keys(request[2])]),
  })
  const all = presignQuery(sha256, ourRequest(request, ''), {
    ...signing(sessionToken),
    expiresSeconds: 900,
  })
  const ours = new URLSearchParams(all)
  for (const [name, value] of Object.entries(query)) {
    if (name.startsWith('X-Amz-')) same(name, value, ours.get(name))
  }
}

function same(name, theirs, ours) {
  if (theirs !== ours) throw new Error(`${name}: theirs ${theirs}, ours ${ours}`)
}

function stsClient(lab) {
  const { aws } = lab
  const keys = awsKeys(lab)
  const client = new STSClient({
    ...{ region: aws.region, endpoint: keys.AWS_ENDPOINT_URL_STS, maxAttempts: 1 },
    credentials: {
      accessKeyId: keys.AWS_ACCESS_KEY_ID,
      secretAccessKey: keys.AWS_SECRET_ACCESS_KEY,
    },
  })
  // At AWS the path is `/`. To an endpoint with a path the SDK adds a slash, before it signs.
  const withoutSlash = next => args => {
    args.request.path = args.request.path.replace(/\/$/, '')
    return next(args)
  }
  client.middlewareStack.add(withoutSlash, { step: 'build', priority: 'low' })
  return client
}

function place(lab) {
  const { AWS_REGION, AWS_ENDPOINT_URL_STS } = awsKeys(lab)
  return { AWS_REGION, AWS_ENDPOINT_URL_STS }
}

async function session(lab, { command: Command, hasRole = false }) {
  const keys = awsKeys(lab)
  const role = { RoleArn: keys.AWS_ROLE_ARN, RoleSessionName: 'oracle' }
  const input = { DurationSeconds: 3_600, ...(hasRole ? role : {}) }
  const theirs = await callsOf(lab, () => stsClient(lab).send(new Command(input)))
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = keys
  const config = hasRole ? { AWS_ROLE_ARN: keys.AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME: 'oracle' } : {}
  const ours = await ourCalls(lab, awsBedrock, {
    material: { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY },
    config: { ...place(lab), ...config },
  })
  mustAgree(theirs, ours, [...SDK, ...SDK_SIGNED])
}

async function webIdentity(lab) {
  const keys = awsKeys(lab)
  const folder = mkdtempSync(path.join(tmpdir(), 'oracle-'))
  const file = path.join(folder, 'token')
  writeFileSync(file, keys.AWS_WEB_IDENTITY_TOKEN)
  const input = {
    ...{ RoleArn: keys.AWS_ROLE_ARN, RoleSessionName: 'oracle', DurationSeconds: 3_600 },
    WebIdentityToken: keys.AWS_WEB_IDENTITY_TOKEN,
  }
  const command = new AssumeRoleWithWebIdentityCommand(input)
  try {
    const theirs = await callsOf(lab, () => stsClient(lab).send(command))
    const ours = await ourCalls(lab, awsBedrock, {
      config: {
        ...{ ...place(lab), AWS_ROLE_ARN: keys.AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME: 'oracle' },
        AWS_WEB_IDENTITY_TOKEN_FILE: file,
      },
      tokenDirs: [folder],
    })
    mustAgree(theirs, ours, SDK)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** An agent with AWS's own client and worthless keys, whose endpoint is the router. */
async function bedrockClient() {
  await using world = await startTestGateway()
  const keys = awsKeys(world.lab)
  const pick = names => Object.fromEntries(names.map(name => [name, keys[name]]))
  const provider = {
    metadata: { name: 'aws' },
    type: 'bedrock',
    credentials: pick(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']),
    config: pick(['AWS_REGION', 'AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL_BEDROCK_RUNTIME']),
  }
  await world.call(OpenShell.method.createProvider, { provider, workspace: 'aws' })
  const route = { providerName: 'aws', modelId: CLAUDE, workspace: 'aws' }
  await world.call(Inference.method.setInferenceRoute, route)
  await using router = await startRouter(world, { name: 'aws', workspace: 'aws' })
  const client = new BedrockRuntimeClient({
    ...{ region: 'us-east-1', endpoint: router.baseUrl, maxAttempts: 1 },
    // The SDK's default for Bedrock is HTTP/2, which the router speaks over TLS alone.
    requestHandler: new NodeHttpHandler(),
    credentials: { accessKeyId: 'placeholder', secretAccessKey: 'placeholder' },
  })
  const messages = [{ role: 'user', content: [{ text: 'hello' }] }]
  const conversed = await client.send(new ConverseCommand({ modelId: ARN, messages }))
  mustSay(JSON.stringify(conversed.output))
  const streamed = await client.send(new ConverseStreamCommand({ modelId: CLAUDE, messages }))
  mustSay(
    JSON.stringify(
      (await Array.fromAsync(streamed.stream))
        .map(one => one.contentBlockDelta?.delta.text)
        .join(''),
    ),
  )
  const body = JSON.stringify({
    ...{ anthropic_version: 'bedrock-2023-05-31', max_tokens: 16 },
    messages: [{ role: 'user', content: 'hello' }],
  })
  const invoked = await client.send(
    new InvokeModelCommand({ modelId: CLAUDE, contentType: 'application/json', body }),
  )
  mustSay(invoked.body.transformToString())
  client.destroy()
}

function mustSay(text) {
  if (!text.includes('You said: hello')) throw new Error(`The model said ${text}`)
}
