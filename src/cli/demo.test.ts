// Goal: `npm start` works from nothing, and keeps out of the way of a person's own provider.
// Method: the real gateway, router and lab in this process, on free ports, with real minted tokens.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { json } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'

const stateDir = mkdtempSync(path.join(tmpdir(), 'openshell-demo-'))
const env = { OPENSHELL_STATE_DIR: stateDir, npm_lifecycle_event: 'start' }

after(() => rmSync(stateDir, { recursive: true }))

test('the demo serves from nothing, and makes way for a provider of one’s own', async () => {
  const ports = await freePorts()
  const first = await startDemo(ports)
  assert.match(first.out, /^Gateway at http:\/\/127\.0\.0\.1:\d+, router at http:\/\/127\.0\.0\.1:/)
  assert.match(first.out, /\n {2}npm run -s openshell -- .*provider refresh status --watch\n/)
  assert.match(first.out, /\n {2}npm run -s openshell -- .*inference set --provider my-vertex/)
  const [, url = '', body = ''] = /curl (\S+) .* -d '(.*)'\n/.exec(first.out) ?? []
  const answer = await post(url, body)
  assert.equal(answer.status, 200)
  assert.match(JSON.stringify(answer.body), /Hello from the lab/)

  const openshell = (...argv: readonly string[]) =>
    runOpenShell(['--gateway-endpoint', first.gatewayUrl, ...argv], { env })
  const [status] = JSON.parse((await openshell('provider', 'refresh', 'status', '-o', 'json')).out)
  assert.equal(status.provider, 'demo')
  assert.equal(status.state, 'valid')
  const taken = await runOpenShell(['demo', ...ports], { env })
  assert.equal(taken.code, 1)
  assert.match(taken.err, /^error: Cannot listen on [^\n]*\n(hint: [^\n]*\n)?$/)
  const own = ['--name', 'own', '--type', 'openai', '--credential', 'OPENAI_API_KEY=not-a-key']
  assert.equal((await openshell('provider', 'add', ...own)).code, 0)
  assert.equal(await first.stop(), 0)

  const second = await startDemo(ports)
  assert.match(second.out, /Your own providers serve/)
  assert.match(second.out, /There is no route yet/)
  const { out } = await openshell('provider', 'list', '-o', 'json')
  assert.deepEqual(
    JSON.parse(out).map((provider: { name: string }) => provider.name),
    ['own'],
  )
  assert.equal((await openshell('inference', 'get')).out, 'Not configured\n')
  assert.equal(await second.stop(), 0)
})

async function startDemo(ports: readonly string[]) {
  const stop = new AbortController()
  const welcome = Promise.withResolvers<string>()
  const ended = runOpenShell(['demo', ...ports], {
    env,
    stop: stop.signal,
    onWrite: out => {
      if (out.includes('Ctrl-C stops')) welcome.resolve(out)
    },
  })
  const endedEarly = ended.then(({ err }) => {
    throw new Error(`The demo ended: ${err}`)
  })
  const out = await Promise.race([welcome.promise, endedEarly])
  return {
    out,
    gatewayUrl: /http:\/\/[\d.:]+/.exec(out)?.[0] ?? '',
    async stop() {
      stop.abort()
      const { code, err } = await ended
      assert.equal(err, '')
      return code
    },
  }
}

async function freePorts(): Promise<readonly string[]> {
  const servers = [createServer(), createServer(), createServer()]
  const flags = ['--listen', '--lab-listen', '--router-listen']
  const found: string[] = []
  for (const [index, server] of servers.entries()) {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    found.push(flags[index] ?? '', `127.0.0.1:${port}`)
  }
  for (const server of servers) await once(server.close(), 'close')
  return found
}

async function post(url: string, body: string) {
  const call = request(url, { method: 'POST', headers: { 'content-type': 'application/json' } })
  call.end(body)
  const [response] = await once(call, 'response')
  return { status: response.statusCode, body: await json(response) }
}
