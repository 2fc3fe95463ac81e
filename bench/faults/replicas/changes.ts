import { AppError } from '../../../src/core/errors.ts'
import { callUnary } from '../../../src/wire/client.ts'
import { Inference } from '../../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { isTrueWithin, sleep } from '../scenario.ts'
import type { Replica } from './cluster.ts'
import type { Trouble } from './trouble.ts'

const EVERY_MS = 1_500
const CALL_MS = 5_000
/** What has not arrived by then is counted as that late. */
const PATIENCE_MS = 20_000
/** A wire that went dead without a word is noticed after a while; so long after trouble it still counts. */
const AFTERMATH_MS = 4_000

/** Models of one vendor, told apart by their names in the router's own list. */
const MODELS = ['claude-3-7-sonnet', 'claude-sonnet-4-5'] as const

/** A change that a gateway confirmed, and how long the workspace's routers took to serve it. */
export interface Change {
  readonly atMs: number
  /** From the gateway's answer to the last router. */
  readonly tookMs: number
}

/** Where a change is made and where it must arrive. */
export interface Target {
  readonly workspace: string
  readonly provider: string
  readonly routers: readonly string[]
}

/** Changes routes by way of gateways drawn by lot, until told to stop. */
export interface Changing {
  /** Those that a gateway confirmed. */
  stop(): Promise<readonly Change[]>
}

/** Begins to change routes. */
export function startChanging(
  replicas: readonly Replica[],
  targets: readonly Target[],
  fraction: () => number,
): Changing {
  const changes: Change[] = []
  let isStopped = false
  const run = async (): Promise<void> => {
    for (let turn = 0; !isStopped; turn += 1) {
      await sleep(EVERY_MS)
      const target = targets[Math.floor(fraction() * targets.length)]
      const replica = replicas[Math.floor(fraction() * replicas.length)]
      if (target === undefined || replica === undefined) continue
      const model = MODELS[turn % MODELS.length] ?? MODELS[0]
      const change = await changeOnce(replica, target, model)
      if (change !== null) changes.push(change)
    }
  }
  const running = run()
  return {
    async stop() {
      isStopped = true
      await running
      return changes
    },
  }
}

/** The changes that no trouble stood in the way of. */
export function undisturbed(
  changes: readonly Change[],
  troubles: readonly Trouble[],
): readonly Change[] {
  return changes.filter(
    ({ atMs, tookMs }) =>
      !troubles.some(
        ({ fromMs, toMs }) =>
          fromMs <= atMs + Math.min(tookMs, 2_000) && atMs <= toMs + AFTERMATH_MS,
      ),
  )
}

/** Null when the gateway did not take the change. */
async function changeOnce(
  { channel }: Replica,
  { workspace, provider, routers }: Target,
  modelId: string,
): Promise<Change | null> {
  const request = { providerName: provider, modelId, workspace, noVerify: true }
  try {
    const method = Inference.method.setInferenceRoute
    await callUnary(channel, method, request, { timeoutMs: CALL_MS })
  } catch (error) {
    if (error instanceof AppError) return null
    throw error
  }
  const atMs = Date.now()
  await isTrueWithin(PATIENCE_MS, async () => {
    const served = await Promise.all(routers.map(servedModel))
    return served.every(id => id.startsWith(modelId))
  })
  return { atMs, tookMs: Date.now() - atMs }
}

/** What a router lists as its model; '' when it serves none. */
async function servedModel(baseUrl: string): Promise<string> {
  try {
    const answer = await fetch(`${baseUrl}/v1/models`)
    const list = JSON.parse(await answer.text())
    return String(list.data?.[0]?.id ?? '')
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError) return ''
    throw error
  }
}
