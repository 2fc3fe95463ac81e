// Goal: what only a process of its own shows. Method: start main.ts and look at it from outside.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'

const main = path.join(import.meta.dirname, 'main.ts')
const SECRET = 'do-not-show-me-7c1'

/** The process list shows a process by its argument memory, as here on Linux. */
const isListable = process.platform === 'linux'

test('a secret among the arguments leaves the process list', { skip: !isListable }, async () => {
  // Accepts and says nothing, so that the command waits for its answer.
  const gateway = createServer().listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const { port } = gateway.address() as AddressInfo
  const argv = ['provider', 'add', '--name', 'n', '--type', 't', '--credential', `K=${SECRET}`]
  const child = spawn(process.execPath, [main, ...argv], {
    env: {
      OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${port}`,
      OPENSHELL_GATEWAY_TOKEN: 'x',
    },
    stdio: 'ignore',
  })
  const [socket] = await once(gateway, 'connection')
  const commandLine = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
  child.kill()
  await once(child, 'exit')
  socket.destroy()
  gateway.close()
  assert.equal(commandLine.replace(/\0+$/, ''), 'openshell provider add')
})

test('the version needs no gateway, and a wrong command ends with 2', async () => {
  const version = spawn(process.execPath, [main, '--version'])
  assert.match(await text(version.stdout), /^\d+\.\d+\.\d+\n$/)
  const wrong = spawn(process.execPath, [main, 'provder'])
  const [code] = await once(wrong, 'exit')
  assert.equal(code, 2)
})

test('the version and help load no gRPC', async () => {
  for (const flag of ['--version', '--help']) {
    const child = spawn(process.execPath, [main, flag], { env: { NODE_DEBUG: 'module,esm' } })
    const [seen] = await Promise.all([text(child.stderr), text(child.stdout)])
    assert.ok(seen.includes('commander'), 'the trace names what is loaded')
    assert.ok(!/grpc|protobuf/.test(seen))
  }
})

test('a reader that has seen enough is no trouble', async () => {
  const child = spawn(process.execPath, [main, 'provider', '--help'])
  child.stdout.destroy()
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  assert.equal(errors, '')
  assert.equal(code, 0)
})
