// Goal: a caller that knows several gateways finds one that lives. Method: real servers and a closed port.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { freePort } from '../../test/support/programs.ts'
import { callUnary, openChannel, reachGateway } from './client.ts'
import { OpenShell } from './gen/openshell/v1/openshell_pb.ts'
import { encodeMessage, methodPath } from './grpc.ts'

const { health } = OpenShell.method

async function startServer(version: string) {
  const server = new Server()
  const method = {
    ...{ path: methodPath(health), requestStream: false, responseStream: false },
    requestSerialize: (request: object) => encodeMessage(health.input, request),
    requestDeserialize: (bytes: Buffer) => fromBinary(health.input, bytes),
    responseSerialize: (answer: object) => encodeMessage(health.output, answer),
    responseDeserialize: (bytes: Buffer) => fromBinary(health.output, bytes),
  }
  server.addService(
    { health: method },
    {
      health: (_call: unknown, answer: (error: null, value: object) => void) =>
        answer(null, { version }),
    },
  )
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const credentials = ServerCredentials.createInsecure()
  server.bindAsync('127.0.0.1:0', credentials, (error, port) =>
    error === null ? resolve(port) : reject(error),
  )
  const port = await promise
  return { url: new URL(`http://127.0.0.1:${port}`), stop: () => server.forceShutdown() }
}

const OPTIONS = { token: () => null, nowMs: Date.now, caPem: null }

test('from a gateway that is not there the next call goes to the next, round and round', async t => {
  const [one, other] = [await startServer('one'), await startServer('other')]
  t.after(() => {
    for (const server of [one, other]) server.stop()
  })
  const nowhere = new URL(`http://127.0.0.1:${await freePort()}`)
  const channel = openChannel([one.url, nowhere, other.url], OPTIONS)
  t.after(() => channel.close())
  const call = async () => (await callUnary(channel, health, {}, { timeoutMs: 5_000 })).version
  assert.deepEqual([await call(), await call()], ['one', 'one'], 'it stays where it is well')
  one.stop()
  await assert.rejects(call(), { code: 'gateway_unreachable' })
  await assert.rejects(call(), { code: 'gateway_unreachable' })
  assert.deepEqual([await call(), await call()], ['other', 'other'])
})

test('a caller that has something open at one gateway comes back to it', async t => {
  const [one, other] = [await startServer('one'), await startServer('other')]
  const channel = openChannel([one.url, other.url], OPTIONS)
  t.after(() => {
    channel.close()
    for (const server of [one, other]) server.stop()
  })
  const { client } = channel
  const call = async () => (await callUnary(channel, health, {}, { timeoutMs: 5_000 })).version
  channel.leave(client)
  assert.equal(await call(), 'other')
  channel.stay(client)
  assert.equal(await call(), 'one')
})

test('whose call must not be made twice finds a living gateway before it calls', async t => {
  const other = await startServer('other')
  t.after(() => other.stop())
  const nowhere = new URL(`http://127.0.0.1:${await freePort()}`)
  for (const first of [0, 1]) {
    const channel = openChannel([nowhere, other.url], OPTIONS, first)
    await reachGateway(channel, { timeoutMs: 1_000 })
    const answer = await callUnary(channel, health, {}, { timeoutMs: 5_000 })
    assert.equal(answer.version, 'other')
    channel.close()
  }
})
