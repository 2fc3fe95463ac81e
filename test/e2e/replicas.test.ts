// Goal: three gateways on one database keep the promises of one. Method: real gateways over a real
// PostgreSQL, each with a wire of its own that can be cut, before the lab as their vendor.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { AppError } from '../../src/core/errors.ts'
import { callUnary } from '../../src/wire/client.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { revealed } from '../store/records.ts'
import { refusal, until, vertexProvider, watchBundles } from '../support/gateway.ts'
import { oauthProvider } from '../support/oauth-provider.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { type Replica, type Replicas, startReplicas } from '../support/replicas.ts'

let server: TestPostgres
before(async () => {
  server = await startPostgres()
})
after(() => server.stop())

const MODEL = { modelId: 'claude-3-7-sonnet' }

async function ready(at: Replica, path: string) {
  const response = await fetch(`${at.gateway.origin}${path}`)
  return { status: response.status, text: await response.text() }
}

/** How many routers a gateway says a provider's token is in. */
async function routersBy(at: Replica, provider: string): Promise<readonly [number, number]> {
  const { credentials } = await at.call(OpenShell.method.getProviderRefreshStatus, { provider })
  return [credentials[0]?.routersCurrent ?? -1, credentials[0]?.routers ?? -1]
}

describe('three gateways whose clocks are minutes apart', () => {
  let world: Replicas
  before(async () => {
    const skewsMs = [-180_000, 0, 180_000] as const
    world = await startReplicas(await server.createDatabase(), { skewsMs, tokenLifetimeMs: 4_000 })
  })
  after(() => world[Symbol.asyncDispose]())

  test('mint once for each expiry, and spend no refresh token twice', async () => {
    const { lab, all, store } = world
    const [one, two] = all
    await one.call(OpenShell.method.createProvider, { provider: vertexProvider(lab, 'vertex') })
    const rotating = oauthProvider(lab, 'rotating', { method: 'post', refreshes: true })
    await two.call(OpenShell.method.createProvider, { provider: rotating })
    const generations = async () => {
      const counts = []
      for (const name of ['vertex', 'rotating']) {
        const provider = await store.getProvider('default', name)
        const [credential] = await store.listCredentials(provider?.id ?? '')
        assert.equal(credential?.failure, null, JSON.stringify(revealed(credential?.failure)))
        counts.push(credential?.generation ?? 0)
      }
      return counts
    }
    await until(async () => (await generations()).every(count => count >= 4), 'four mints each')
    // What is on its way now is not stored yet.
    await until(async () => {
      const stored = (await generations()).reduce((sum, count) => sum + count, 0)
      return lab.counts().mints === stored
    }, 'as many mints as generations')
    for (const name of ['vertex', 'rotating']) {
      await one.call(OpenShell.method.deleteProvider, { name })
    }
  })
})

describe('three gateways', () => {
  let world: Replicas
  before(async () => {
    world = await startReplicas(await server.createDatabase())
    const { lab, all } = world
    const provider = vertexProvider(lab, 'my-vertex')
    await all[0].call(OpenShell.method.createProvider, { provider })
    await all[1].call(Inference.method.setInferenceRoute, { providerName: 'my-vertex', ...MODEL })
  })
  after(() => world[Symbol.asyncDispose]())

  /** A router at a gateway, with a sandbox that another made; it has its first bundle. */
  async function router(at: Replica, name: string, madeBy: Replica = at) {
    const token = await world.sandbox(madeBy, name)
    const channel = at.channel(token)
    const watcher = watchBundles(channel, { acknowledges: true })
    await watcher.push(1)
    return { watcher, channel, token }
  }
  const setModel = (at: Replica, modelId: string) =>
    at.call(Inference.method.setInferenceRoute, { providerName: 'my-vertex', modelId })
  const hasModel = ({ watcher }: Awaited<ReturnType<typeof router>>, modelId: string) =>
    until(() => watcher.bundles.at(-1)?.routes[0]?.modelId === modelId, `${modelId} arrives`)

  test('a token of one is taken by all; a change at one reaches the routers of all', async t => {
    const [one, two, three] = world.all
    const routers = await Promise.all(world.all.map((at, index) => router(at, `box-${index}`, one)))
    t.after(() => {
      for (const { watcher } of routers) watcher.cancel()
    })
    await setModel(two, 'claude-next-1')
    for (const one of routers) await hasModel(one, 'claude-next-1')
    for (const at of [one, three]) {
      await until(async () => {
        const [current, all] = await routersBy(at, 'my-vertex')
        return current === 3 && all === 3
      }, 'the status counts all routers')
    }
    routers[2]?.watcher.cancel()
    await until(async () => (await routersBy(one, 'my-vertex'))[1] === 2, 'one has left')
  })

  test('a refused token that is reported at all of them is minted anew once', async () => {
    const { lab, all } = world
    const routers = await Promise.all(all.map((at, index) => router(at, `refused-${index}`)))
    const generation = BigInt(routers[0]?.watcher.bundles.at(-1)?.routes[0]?.generation ?? 0)
    const before = lab.counts().mints
    const report = { providerName: 'my-vertex', generation, status: 401, reason: 'revoked' }
    await Promise.all(
      routers.map(({ channel }) =>
        callUnary(channel, Delivery.method.reportRejectedToken, report, { timeoutMs: 5_000 }),
      ),
    )
    for (const { watcher } of routers) {
      const isNew = () => BigInt(watcher.bundles.at(-1)?.routes[0]?.generation ?? 0) > generation
      await until(isNew, 'the new token arrives')
    }
    assert.equal(lab.counts().mints, before + 1)
    for (const { watcher } of routers) watcher.cancel()
  })

  test('a sandbox that is deleted at one loses its access at all', async () => {
    const [one, , three] = world.all
    const { watcher, channel } = await router(three, 'doomed', one)
    const poll = () =>
      callUnary(channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 5_000 })
    await poll()
    await one.call(OpenShell.method.deleteSandbox, { name: 'doomed' })
    assert.equal(await watcher.ended, null)
    await assert.rejects(poll(), refusal('not_found'))
  })

  test('a change arrives although the connection that listens has died without a word', async t => {
    const [one, two] = world.all
    const at = await router(two, 'deaf')
    t.after(() => at.watcher.cancel())
    two.wire.halfOpen()
    await setModel(one, 'claude-next-2')
    await hasModel(at, 'claude-next-2')
  })

  test('cut off from the database, one answers from memory, refuses writes, and says so', async t => {
    const [one, two] = world.all
    const at = await router(two, 'cut-off')
    t.after(() => at.watcher.cancel())
    const poll = () =>
      callUnary(at.channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 4_000 })
    const known = (await poll()).revision
    for (const harm of ['refuse', 'silence'] as const) {
      two.wire[harm]()
      await until(async () => (await ready(two, '/readyz')).status === 503, 'it is not ready')
      assert.equal((await ready(two, '/healthz')).status, 200)
      assert.equal((await poll()).revision, known)
      await assert.rejects(
        two.call(Inference.method.setInferenceRoute, { providerName: 'my-vertex', ...MODEL }),
        (error: unknown) => error instanceof AppError && error.code === 'store_unavailable',
      )
      two.wire.pass()
      await until(async () => (await ready(two, '/readyz')).status === 200, 'it is ready again')
    }
    await setModel(one, 'claude-next-3')
    await hasModel(at, 'claude-next-3')
  })

  test('what one was killed at, the others go on with', async t => {
    const { lab, all } = world
    const [one, two, three] = all
    const at = await router(three, 'survivor')
    t.after(() => at.watcher.cancel())
    one.kill()
    const provider = vertexProvider(lab, 'spare')
    await two.call(OpenShell.method.createProvider, { provider })
    await two.call(Inference.method.setInferenceRoute, { providerName: 'spare', ...MODEL })
    const servedBy = () => at.watcher.bundles.at(-1)?.routes[0]?.providerName
    await until(() => servedBy() === 'spare', 'what the others change arrives')
    const rotated = await two.call(OpenShell.method.rotateProviderCredential, {
      ...{ provider: 'spare', credentialKey: '' },
    })
    const generation = Number(rotated.status?.generation ?? 0)
    const served = () => at.watcher.bundles.at(-1)?.routes[0]?.generation
    await until(() => served() === generation, 'what the others mint arrives')
  })
})
