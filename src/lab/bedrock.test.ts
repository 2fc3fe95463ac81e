// Goal: the lab's Bedrock takes what Bedrock takes, and refuses whoever has no living session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signedPost } from '../../test/support/aws-sign.ts'
import { type Received, send, startTestLab, type TestLab } from '../../test/support/lab.ts'

const CLAUDE = '/bedrock/model/anthropic.claude-sonnet-5-5-v1%3A0'
const BODY = {
  anthropic_version: 'bedrock-2023-05-31',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'hello' }],
}

function ask(
  { lab, clock }: TestLab,
  path: string,
  body: unknown,
  keys = lab.aws.startSession('me', 60_000),
): Promise<Received> {
  const url = `${lab.origin}${path}`
  const options = { nowMs: clock.nowMs(), service: 'bedrock' }
  return send(url, signedPost(url, keys, JSON.stringify(body), options))
}

test('Claude answers to a signed call, at once and in frames', async () => {
  await using testLab = await startTestLab()
  const whole = await ask(testLab, `${CLAUDE}/invoke`, BODY)
  assert.equal(whole.status, 200)
  assert.match(whole.text, /You said: hello/)
  const framed = await ask(testLab, `${CLAUDE}/invoke-with-response-stream`, BODY)
  assert.equal(framed.headers['content-type'], 'application/vnd.amazon.eventstream')
  assert.equal(framed.bytes.readUInt32BE(0) < framed.bytes.length, true)
})

test('a call is refused whose session is over, revoked, or none', async () => {
  await using testLab = await startTestLab()
  const { lab, clock } = testLab
  const refused = async (keys = lab.aws.user) => {
    const { status, text, headers } = await ask(testLab, `${CLAUDE}/invoke`, BODY, keys)
    return `${status} ${headers['x-amzn-errortype']} ${JSON.parse(text).message}`
  }
  const over = 'The security token included in the request is expired'
  const keys = lab.aws.startSession('me', 1_000)
  await clock.advance(1_000)
  assert.equal(await refused(keys), `403 ExpiredTokenException ${over}`)
  const revoked = lab.aws.startSession('me', 60_000)
  lab.revokeTokens()
  assert.equal(await refused(revoked), `403 ExpiredTokenException ${over}`)
  const other = lab.aws.startSession('me', 60_000).session
  assert.match(await refused({ ...revoked, session: other }), /403 UnrecognizedClientException/)
})

test('an API key is a bearer: the long-term one, and none that was made up', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const withKey = async (key: string) => {
    const headers = [
      ['content-type', 'application/json'],
      ['authorization', `Bearer ${key}`],
    ] as const
    return (await send(`${lab.origin}${CLAUDE}/invoke`, { headers, body: BODY })).status
  }
  assert.equal(await withKey(lab.aws.bedrockKey.reveal()), 200)
  const untyped = [['authorization', `Bearer ${lab.aws.bedrockKey.reveal()}`]] as const
  const invoke = `${lab.origin}${CLAUDE}/invoke`
  assert.equal((await send(invoke, { headers: untyped, body: BODY })).status, 200)
  const typed = [...untyped, ['content-type', 'text/plain']] as const
  assert.equal((await send(invoke, { headers: typed, body: BODY })).status, 400)
  const made = Buffer.from('bedrock.amazonaws.com/?Action=CallWithBearerToken&Version=1')
  for (const key of ['x', 'bedrock-api-key-x', `bedrock-api-key-${made.toString('base64')}`]) {
    assert.equal(await withKey(key), 403)
  }
})

test('bodies and paths are judged as strictly as Bedrock does', async () => {
  await using testLab = await startTestLab()
  const ROWS: readonly (readonly [string, unknown, RegExp])[] = [
    [`${CLAUDE}/invoke`, { ...BODY, model: 'x' }, /model: Extra inputs/],
    [`${CLAUDE}/invoke`, { ...BODY, stream: true }, /stream: Extra inputs/],
    [`${CLAUDE}/invoke`, { ...BODY, anthropic_version: 'vertex-2023-10-16' }, /anthropic_version/],
    [`${CLAUDE}/invoke`, { ...BODY, max_tokens: 0 }, /max_tokens/],
    ['/bedrock/model/nobody/invoke', BODY, /model identifier is invalid/],
    ['/bedrock/model/m/converse', { messages: [{ content: 'text' }] }, /list as content/],
    ['/bedrock/model/m/converse', { messages: [], model: 'm' }, /Unknown member "model"/],
    ['/bedrock/model/m/count', {}, /Nothing is served/],
    ['/bedrock/openai/v1/chat/completions', { model: 'gpt-4o' }, /does not exist/],
  ]
  for (const [path, body, words] of ROWS) {
    const { status, text } = await ask(testLab, path, body)
    assert.ok(status >= 400, path)
    assert.match(JSON.parse(text).message, words)
  }
})

test('any model converses, at once and in frames', async () => {
  await using testLab = await startTestLab()
  const talk = { messages: [{ role: 'user', content: [{ text: 'hello' }] }] }
  const { text } = await ask(testLab, '/bedrock/model/amazon.nova/converse', talk)
  assert.match(JSON.parse(text).output.message.content[0].text, /You said: hello/)
  const framed = await ask(testLab, '/bedrock/model/amazon.nova/converse-stream', talk)
  for (const name of ['messageStart', 'contentBlockDelta', 'messageStop', 'metadata']) {
    assert.ok(framed.text.includes(name), name)
  }
})
