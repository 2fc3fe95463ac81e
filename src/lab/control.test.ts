// Goal: a running lab is driven over plain HTTP, and its journal shows no foreign credential.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import {
  CLAUDE_PATH,
  claudeCall,
  mintToken,
  type Sent,
  send,
  startTestLab,
} from '../../test/support/lab.ts'

const PATH = `${CLAUDE_PATH}/claude-3-7-sonnet:rawPredict`

test('faults are set, listed and cleared', async () => {
  await using testLab = await startTestLab()
  const url = `${testLab.lab.origin}/lab/faults`
  const list = async () => JSON.parse((await send(url)).text)
  const set = await send(url, { body: 'google.token status=503 count=3\nvertex hang for=1m' })
  assert.equal(set.status, 200)
  assert.deepEqual(await list(), [
    { target: 'google.token', text: 'google.token status=503 count=3', callsLeft: 3, msLeft: null },
    { target: 'vertex', text: 'vertex hang for=1m', callsLeft: null, msLeft: 60_000 },
  ])
  await send(`${url}?target=vertex`, { method: 'DELETE' })
  assert.equal((await list()).length, 1)
  await send(url, { method: 'DELETE' })
  assert.deepEqual(await list(), [])
  const words: Sent = {
    headers: [['content-type', 'application/json']],
    body: ['vertex', 'body=two "words'],
  }
  assert.equal((await send(url, words)).status, 200)
  assert.equal(testLab.lab.faults.list()[0]?.text, 'vertex body=two "words')
})

test('what cannot be obeyed is refused in words', async () => {
  await using testLab = await startTestLab()
  const json: Sent['headers'] = [['content-type', 'application/json']]
  const rows: readonly (readonly [string, Sent, number, RegExp])[] = [
    ['faults', { body: 'vertex nonsense' }, 400, /knows no "nonsense"/],
    ['faults', { body: { a: 1 }, headers: json }, 400, /array of words/],
    ['faults', { body: '[', headers: json }, 400, /array of words/],
    ['nothing', {}, 404, /knows no GET nothing/],
    ['disable?email=nobody', { method: 'POST' }, 404, /No such account/],
    ['journal/77/body', {}, 404, /no body of call 77/],
  ]
  for (const [operation, sent, status, message] of rows) {
    const received = await send(`${testLab.lab.origin}/lab/${operation}`, sent)
    assert.equal(received.status, status, operation)
    assert.match(JSON.parse(received.text).error, message)
  }
})

test('the key file and the keys are those of this lab', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const { text } = await send(`${lab.origin}/lab/service-account.json`)
  assert.equal(text, lab.serviceAccountKey())
  const key = JSON.parse(text)
  assert.deepEqual([key.type, key.token_uri], ['service_account', `${lab.origin}/token`])
  const other = await send(`${lab.origin}/lab/service-account.json?email=a@b.c`)
  assert.equal(JSON.parse(other.text).client_email, 'a@b.c')
  const { openai, anthropic, azure } = JSON.parse((await send(`${lab.origin}/lab/keys`)).text)
  assert.equal(openai, lab.openaiKey().reveal())
  assert.equal(anthropic, lab.anthropicKey().reveal())
  assert.equal(azure.AZURE_CLIENT_SECRET, lab.azure.clientSecret.reveal())
  assert.equal(azure.AZURE_CLIENT_CERTIFICATE, lab.azure.certificate().pem.reveal())
  const { status } = await send(`${lab.origin}/lab/disable?email=${key.client_email}`, {
    method: 'POST',
  })
  assert.equal(status, 200)
  await assert.rejects(mintToken(testLab), /disabled_client/)
})

test('status and revocation name tokens, never show them', async () => {
  await using testLab = await startTestLab()
  const token = await mintToken(testLab)
  await send(`${testLab.lab.origin}${PATH}`, claudeCall(token))
  const revoked = await send(`${testLab.lab.origin}/lab/revoke?id=token-1`, { method: 'POST' })
  assert.deepEqual(JSON.parse(revoked.text), { revoked: 1 })
  await send(`${testLab.lab.origin}${PATH}`, claudeCall(token))
  const { text } = await send(`${testLab.lab.origin}/lab/status`)
  const status = JSON.parse(text)
  assert.deepEqual(status.counts, {
    calls: { 'google.token': { 200: 1 }, vertex: { 200: 1, 401: 1 } },
    mints: 1,
    unauthorized: 1,
    broken: 0,
    abandoned: 0,
  })
  assert.equal(status.tokens[0].isRevoked, true)
  assert.ok(!text.includes(token))
})

test('the journal names the lab’s credentials and hides any other', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const token = await mintToken(testLab)
  const sent = claudeCall(token)
  const headers: Sent['headers'] = [...(sent.headers ?? []), ['x-api-key', 'placeholder']]
  await send(`${lab.origin}${PATH}`, { ...sent, headers })
  const page = async (query: string) =>
    JSON.parse((await send(`${lab.origin}/lab/journal${query}`)).text)
  const [entry] = await page('?vendor=vertex')
  const shown = Object.fromEntries(entry.headers)
  const digest = createHash('sha256').update('placeholder').digest('hex')
  assert.equal(shown.authorization, 'Bearer [token-1]')
  assert.equal(shown['x-api-key'], `[unknown, 11 characters, sha256 ${digest}]`)
  assert.deepEqual([entry.status, entry.tokenId, entry.body], [400, 'token-1', undefined])
  assert.equal((await page('?limit=1')).length, 1)
  assert.deepEqual(await page(`?after=${entry.id}`), [])
  const { bytes } = await send(`${lab.origin}/lab/journal/${entry.id}/body`)
  assert.equal(bytes.toString(), JSON.stringify(sent.body))
  assert.equal(createHash('sha256').update(bytes).digest('hex'), entry.bodySha256)
})

test('a path that nobody owns is refused, and noted', async () => {
  await using testLab = await startTestLab()
  const { status, text } = await send(`${testLab.lab.origin}/robots.txt`)
  assert.equal(status, 404)
  assert.match(text, /GET \/robots\.txt/)
  assert.deepEqual(testLab.lab.counts().calls.get(''), new Map([[404, 1]]))
})
