import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  GatewayMessageSchema,
  type SupervisorMessage,
  type SupervisorMessageSchema,
} from '../wire/gen/openshell/v1/supervisor_pb.ts'
import { EncodedMessage, encodeMessage } from '../wire/grpc.ts'
import {
  type Rpc,
  requireOwn,
  type SandboxStream,
  sandboxInputRpc,
  sandboxStreamRpc,
} from './rpc.ts'
import { uuid } from './uuid.ts'

const HEARTBEAT_SECONDS = 30

/** What the supervisors' streams need. */
interface StreamDeps {
  readonly store: Store
  readonly random: Random
  readonly log: Log
  /** Ends every open stream when the gateway stops. */
  readonly stopping: AbortSignal
}

type Stream = SandboxStream<typeof SupervisorMessageSchema>

/** The streaming methods of `openshell.v1.OpenShell` that a sandbox's supervisor opens. */
export function supervisorStreamRpcs(deps: StreamDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    sandboxStreamRpc(method.connectSupervisor, (stream, sandbox) => {
      const end = (): void => {
        deps.stopping.removeEventListener('abort', end)
        stream.end()
      }
      deps.stopping.addEventListener('abort', end, { once: true })
      stream.on('data', (message: SupervisorMessage) => {
        void answer(deps, { stream, sandbox, end }, message).catch((error: unknown) => {
          deps.log.warn('supervisor.broke', { sandbox: sandbox.name, error })
          end()
        })
      })
      for (const event of ['end', 'close', 'cancelled', 'error']) stream.on(event, end)
      if (deps.stopping.aborted) end()
    }),
    // Agents print what they like, secrets not excepted: their lines are counted and let go.
    sandboxInputRpc(method.pushSandboxLogs, deps.stopping, sandbox => {
      let lines = 0
      return {
        take(request) {
          requireOwn(sandbox, request.sandboxId)
          lines += request.logs.length
        },
        finish() {
          deps.log.debug('sandbox.logs', { sandbox: sandbox.name, lines })
          return {}
        },
      }
    }),
  ]
}

interface Session {
  readonly stream: Stream
  readonly sandbox: SandboxRecord
  readonly end: () => void
}

/** A session is a greeting and heartbeats: nothing is relayed into a sandbox from here. */
async function answer(deps: StreamDeps, session: Session, message: SupervisorMessage) {
  const { stream, sandbox, end } = session
  switch (message.payload.case) {
    case 'hello': {
      if (message.payload.value.sandboxId !== sandbox.id) {
        send(stream, {
          case: 'sessionRejected',
          value: { reason: 'Not the sandbox of this token' },
        })
        return end()
      }
      const value = { sessionId: uuid(deps.random), heartbeatIntervalSecs: HEARTBEAT_SECONDS }
      send(stream, { case: 'sessionAccepted', value })
      deps.log.debug('supervisor.connected', { sandbox: sandbox.name })
      return
    }
    case 'heartbeat':
      if (await isGone(deps.store, sandbox.id)) return end()
      return send(stream, { case: 'heartbeat', value: {} })
    default:
      // A relay that was never opened has nothing to say.
      return
  }
}

/** While the store is away nobody can have deleted it. */
async function isGone(store: Store, id: string): Promise<boolean> {
  try {
    return (await store.getSandboxById(id)) === null
  } catch (error) {
    if (error instanceof AppError && error.code === 'store_unavailable') return false
    throw error
  }
}

type Payload = NonNullable<Parameters<typeof encodeGatewayMessage>[0]>

function send(stream: Stream, payload: Payload): void {
  if (!stream.writableEnded) stream.write(encodeGatewayMessage(payload))
}

function encodeGatewayMessage(
  payload: Parameters<typeof encodeMessage<typeof GatewayMessageSchema>>[1]['payload'],
): EncodedMessage {
  return new EncodedMessage(
    encodeMessage(GatewayMessageSchema, payload === undefined ? {} : { payload }),
  )
}
