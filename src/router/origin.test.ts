// Goal: no web page spends the token, and no program is hindered. Method: a table of what browsers and
// programs send.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorOf, summary, world } from '../../test/support/router-world.ts'
import { refuseForeignPage } from './origin.ts'

const HOST = '127.0.0.1:8080'

const PASS: readonly (readonly string[])[] = [
  [],
  ['origin', 'http://127.0.0.1:8080'],
  ['origin', 'http://localhost:8080'],
  ['origin', 'http://[::1]:8080'],
  ['origin', 'https://inference.local'],
  ['origin', 'HTTP://LocalHost:8080'],
  ['origin', 'vscode-webview://1a2b', 'sec-fetch-site', 'cross-site'],
  ['origin', 'app://desktop'],
  ['sec-fetch-site', 'none'],
  ['sec-fetch-site', 'same-origin'],
  ['sec-fetch-mode', 'cors'],
]

const REFUSE: readonly (readonly string[])[] = [
  ['origin', 'https://evil.example'],
  ['origin', 'http://localhost:3000'],
  ['origin', 'http://127.0.0.1'],
  ['origin', 'https://inference.local:8443'],
  ['origin', 'https://inference.local.evil.example'],
  ['origin', 'http://10.0.0.5:8080'],
  ['origin', 'null'],
  ['origin', 'file://'],
  ['origin', 'evil.example'],
  ['Origin', 'https://evil.example', 'sec-fetch-site', 'same-origin'],
  ['sec-fetch-site', 'cross-site'],
  ['sec-fetch-site', 'same-site'],
  ['sec-fetch-site', 'whatever'],
]

for (const fields of PASS) {
  test(`passes: ${fields.join(' ')}`, () => {
    assert.doesNotThrow(() => refuseForeignPage({ headers: ['host', HOST, ...fields] }))
  })
}

for (const fields of REFUSE) {
  test(`is refused: ${fields.join(' ')}`, () => {
    assert.throws(() => refuseForeignPage({ headers: ['host', HOST, ...fields] }), {
      name: 'RouterError',
      code: 'origin_forbidden',
      status: 403,
    })
  })
}

test('an own address is what the Host says, on other machines and ports too', () => {
  for (const [host, origin] of [
    ['10.0.0.5:8080', 'http://10.0.0.5:8080'],
    ['10.0.0.5', 'http://10.0.0.5'],
    ['inference.local', 'https://inference.local'],
    ['inference.local:443', 'https://inference.local'],
  ] as const)
    assert.doesNotThrow(() => refuseForeignPage({ headers: ['Host', host, 'Origin', origin] }))
})

test('the page is told in the dialect of the path, and nothing reaches the vendor', async () => {
  const headers = ['host', HOST, 'origin', 'https://evil.example', 'content-type', 'text/plain']
  const { ask, seen } = world({ routes: [] })
  const anthropic = ask({ headers })
  assert.equal(summary(await anthropic.done), 'refused 403 origin_forbidden')
  assert.equal(errorOf(anthropic.heard).type, 'permission_error')
  assert.match(errorOf(anthropic.heard).message, /"https:\/\/evil\.example"/)
  const openai = ask({ headers, target: '/v1/chat/completions' })
  await openai.done
  assert.equal(errorOf(openai.heard).type, 'invalid_request_error')
  assert.equal(openai.heard.header('x-openshell-error'), 'origin_forbidden')
  assert.equal(seen.length, 0)
})
