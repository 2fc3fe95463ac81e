// Goal: the lab's STS and metadata endpoints take what AWS takes and refuse the rest in its words.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SignChanges, signedPost } from '../../test/support/aws-sign.ts'
import { type Received, send, startTestLab, type TestLab } from '../../test/support/lab.ts'
import { Secret } from '../core/secret.ts'

const FORM = 'application/x-www-form-urlencoded'
const GET_SESSION = { Action: 'GetSessionToken', Version: '2011-06-15', DurationSeconds: '3600' }

function askSts(
  { lab, clock }: TestLab,
  fields: Readonly<Record<string, string>>,
  changes: Partial<SignChanges> = {},
): Promise<Received> {
  const url = `${lab.origin}/aws/sts`
  const body = new URLSearchParams(fields).toString()
  return send(
    url,
    signedPost(url, lab.aws.user, body, {
      ...{ nowMs: clock.nowMs(), service: 'sts', contentType: FORM, ...changes },
    }),
  )
}

function codeOf({ status, text }: Received): string {
  return `${status} ${/<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? ''}`
}

test('a user’s signed request brings session keys, of the role where it asks for it', async () => {
  await using testLab = await startTestLab({ tokenLifetimeMs: 60_000 })
  const { roleArn } = testLab.lab.aws
  const role = { Action: 'AssumeRole', RoleArn: roleArn, RoleSessionName: 'me' }
  for (const fields of [GET_SESSION, { ...GET_SESSION, ...role }]) {
    const { status, text } = await askSts(testLab, fields)
    assert.equal(status, 200)
    assert.match(text, /<AccessKeyId>ASIA[A-Z2-7]{16}<\/AccessKeyId>/)
    assert.match(text, /<Expiration>2026-11-25T12:01:00Z<\/Expiration>/)
  }
  assert.equal(testLab.lab.tokens().length, 2)
})

test('a signature is refused that is not exactly right', async () => {
  await using testLab = await startTestLab()
  const nowMs = testLab.clock.nowMs()
  const ROWS: readonly (readonly [Partial<SignChanges>, string])[] = [
    [{ nowMs: nowMs + 300_000 }, '200 '],
    [{ nowMs: nowMs - 300_000 }, '200 '],
    [{ nowMs: nowMs + 301_000 }, '403 SignatureDoesNotMatch'],
    [{ nowMs: nowMs - 301_000 }, '403 SignatureDoesNotMatch'],
    [{ secret: new Secret('other') }, '403 SignatureDoesNotMatch'],
    [{ region: 'us-east-2' }, '403 SignatureDoesNotMatch'],
    [{ service: 'bedrock' }, '403 SignatureDoesNotMatch'],
  ]
  for (const [changes, expected] of ROWS) {
    assert.equal(codeOf(await askSts(testLab, GET_SESSION, changes)), expected)
  }
  const { lab } = testLab
  const url = `${lab.origin}/aws/sts`
  const body = new URLSearchParams(GET_SESSION).toString()
  const signed = signedPost(url, lab.aws.user, body, { nowMs, service: 'sts', contentType: FORM })
  const longer = { ...signed, body: `${body}&` }
  assert.equal(codeOf(await send(url, longer)), '403 SignatureDoesNotMatch')
  const headers = [...(signed.headers ?? []), ['x-amz-content-sha256', 'x'] as const]
  assert.equal(codeOf(await send(url, { ...signed, headers })), '403 SignatureDoesNotMatch')
  const unsigned = { body, headers: [['content-type', FORM]] as const }
  assert.equal(codeOf(await send(url, unsigned)), '403 IncompleteSignature')
  const stranger = { ...lab.aws.user, accessKeyId: 'AKIANOBODY' }
  const strange = signedPost(url, stranger, body, { nowMs, service: 'sts', contentType: FORM })
  assert.equal(codeOf(await send(url, strange)), '403 InvalidClientTokenId')
})

test('a form is taken only as documented', async () => {
  await using testLab = await startTestLab()
  const ROWS: readonly Readonly<Record<string, string>>[] = [
    { ...GET_SESSION, Version: '2010-01-01' },
    { ...GET_SESSION, DurationSeconds: '899' },
    { ...GET_SESSION, DurationSeconds: '43201' },
    { ...GET_SESSION, Other: 'x' },
    { ...GET_SESSION, Action: 'Nothing' },
    { Action: 'GetSessionToken', Version: '2011-06-15' },
  ]
  for (const fields of ROWS) {
    assert.equal(codeOf(await askSts(testLab, fields)), '400 ValidationError')
  }
})

test('a web identity is believed when it is fresh, signed, and shown to the right one', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const { audience, roleArn } = lab.aws
  const ask = (token: Secret, arn = roleArn) =>
    send(`${lab.origin}/aws/sts`, {
      headers: [['content-type', FORM]],
      body: new URLSearchParams({
        ...GET_SESSION,
        ...{ Action: 'AssumeRoleWithWebIdentity', RoleArn: arn, RoleSessionName: 'me' },
        WebIdentityToken: token.reveal(),
      }).toString(),
    })
  const good = lab.identityToken({ audience })
  assert.equal(codeOf(await ask(good)), '200 ')
  assert.equal(codeOf(await ask(good, `${roleArn}x`)), '403 AccessDenied')
  const old = lab.identityToken({ audience, lifetimeMs: -1_000 })
  assert.equal(codeOf(await ask(old)), '400 ExpiredTokenException')
  const other = lab.identityToken({ audience: 'other' })
  assert.equal(codeOf(await ask(other)), '400 InvalidIdentityToken')
  assert.equal(codeOf(await ask(new Secret('x'))), '400 InvalidIdentityToken')
})

test('instance metadata needs a token of its own, got by PUT', async () => {
  await using testLab = await startTestLab()
  const { origin, aws } = testLab.lab
  const roles = `${origin}/latest/meta-data/iam/security-credentials/`
  const ttl = ['x-aws-ec2-metadata-token-ttl-seconds', '21600'] as const
  assert.equal((await send(roles)).status, 401)
  assert.equal((await send(`${origin}/latest/api/token`, { headers: [ttl] })).status, 405)
  assert.equal((await send(`${origin}/latest/api/token`, { method: 'PUT' })).status, 400)
  const { text } = await send(`${origin}/latest/api/token`, { method: 'PUT', headers: [ttl] })
  const headers = [['x-aws-ec2-metadata-token', text]] as const
  assert.equal((await send(roles, { headers })).text, aws.roleName)
  assert.equal((await send(`${roles}other`, { headers })).status, 404)
  const keys = JSON.parse((await send(`${roles}${aws.roleName}`, { headers })).text)
  assert.equal(keys.Code, 'Success')
  assert.equal(keys.Expiration, '2026-11-25T13:00:00Z')
})

test('the container endpoint wants its token bare', async () => {
  await using testLab = await startTestLab()
  const { origin, aws } = testLab.lab
  const ask = async (authorization: string) => {
    const headers = [['authorization', authorization]] as const
    return (await send(`${origin}/aws/container`, { headers })).status
  }
  assert.equal(await ask(aws.containerToken.reveal()), 200)
  assert.equal(await ask(`Bearer ${aws.containerToken.reveal()}`), 401)
  assert.equal((await send(`${origin}/aws/container`)).status, 401)
})
