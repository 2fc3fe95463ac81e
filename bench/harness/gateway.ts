// The released gateway under measurement, and what administers it.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Secret } from '../../src/core/secret.ts'
import { callUnary, type GatewayChannel, openChannel } from '../../src/wire/client.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { freePort } from '../../test/support/programs.ts'
import { type BOTH_CORES, listening, MEASURED_CORE, startOn } from './processes.ts'
import type { Stage } from './stage.ts'

const CALL_MS = 30_000
/** Sandboxes that are created at a time. */
const AT_ONCE = 64
/** An upstream that nobody calls. */
const BASE_URL = 'http://127.0.0.1:9/v1'

/** A gateway at work on the measured core. */
export interface MeasuredGateway {
  readonly port: number
  readonly pid: number
  /** Creates a provider with this key, and the route to it. */
  createProvider(key: string): Promise<void>
  /** Changes the provider's key. */
  changeKey(key: string): Promise<void>
  /** Creates sandboxes and answers a file with their tokens, one a line. */
  createSandboxes(count: number): Promise<string>
  stop(): Promise<void>
}

/** Starts a gateway over an empty store; the state folder may be prepared before. */
export async function startGateway(
  stage: Stage,
  options: {
    readonly stateDir: string
    readonly words: readonly string[]
    /** The measured one by default. */
    readonly cores?: typeof BOTH_CORES
  },
): Promise<MeasuredGateway> {
  const { stateDir, cores = MEASURED_CORE } = options
  const port = await freePort()
  const started = startOn(
    cores,
    [
      ...[process.execPath, stage.executable, 'gateway', 'start'],
      ...['--listen', `127.0.0.1:${port}`, '--state-dir', stateDir],
      ...['--log-level', 'warn', ...options.words],
    ],
    { HOME: stage.folder },
  )
  await listening(started, port)
  const token = new Secret(readFileSync(path.join(stateDir, 'admin.token'), 'utf8').trim())
  const channel = openChannel(new URL(`http://127.0.0.1:${port}`), {
    token: () => token,
    nowMs: () => Date.now(),
    caPem: null,
  })
  return {
    ...{ port, pid: started.pid },
    createProvider: key => createProvider(channel, key),
    changeKey: key => changeKey(channel, key),
    createSandboxes: async count =>
      stage.write(`tokens-${count}`, (await issueTokens(channel, count)).join('\n')),
    async stop() {
      channel.close()
      await started.stop()
    },
  }
}

/** The options of a gateway whose provider is {@link BASE_URL}. */
export const allowsUpstream: readonly string[] = ['--allow-endpoint', new URL(BASE_URL).host]

async function createProvider(channel: GatewayChannel, key: string): Promise<void> {
  const provider = {
    ...{ metadata: { name: 'bench' }, type: 'generic' },
    ...{ credentials: { API_KEY: key }, config: { BASE_URL } },
  }
  const { method } = OpenShell
  await callUnary(channel, method.createProvider, { provider }, { timeoutMs: CALL_MS })
  const route = { providerName: 'bench', modelId: 'bench-model', noVerify: true }
  await callUnary(channel, Inference.method.setInferenceRoute, route, { timeoutMs: CALL_MS })
}

async function changeKey(channel: GatewayChannel, key: string): Promise<void> {
  const provider = { metadata: { name: 'bench' }, type: 'generic', credentials: { API_KEY: key } }
  const { updateProvider } = OpenShell.method
  await callUnary(channel, updateProvider, { provider }, { timeoutMs: CALL_MS })
}

async function issueTokens(channel: GatewayChannel, count: number): Promise<readonly string[]> {
  const tokens: string[] = []
  const names = Array.from({ length: count }, (_, at) => `bench-${count}-${at}`).values()
  const work = async (): Promise<void> => {
    for (const name of names) {
      const options = { timeoutMs: CALL_MS }
      await callUnary(channel, OpenShell.method.createSandbox, { name }, options)
      const { createSandboxToken } = Delivery.method
      const issued = await callUnary(channel, createSandboxToken, { sandboxName: name }, options)
      tokens.push(issued.token)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return tokens
}
