import type { MessageInitShape } from '@bufbuild/protobuf'
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
      const session = { stream, sandbox, end }
      deps.stopping.addEventListener('abort', end, { once: true })
      let isAnswering = false
      stream.on('data', ({ payload }: SupervisorMessage) => {
        if (payload.case === 'hello') return greet(deps, session, payload.value.sandboxId)
        // A relay that was never opened has nothing to say, and of a flood one heartbeat is answered.
        if (payload.case !== 'heartbeat' || isAnswering) return
        isAnswering = true
        void answerHeartbeat(deps, session).finally(() => {
          isAnswering = false
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
function greet(deps: StreamDeps, { stream, sandbox, end }: Session, sandboxId: string): void {
  if (sandboxId !== sandbox.id) {
    const reason = 'Not the sandbox of this token'
    send(stream, { case: 'sessionRejected', value: { reason } })
    end()
    return
  }
  const value = { sessionId: uuid(deps.random), heartbeatIntervalSecs: HEARTBEAT_SECONDS }
  send(stream, { case: 'sessionAccepted', value })
  deps.log.debug('supervisor.connected', { sandbox: sandbox.name })
}

/** Ends the session of a sandbox that was deleted; while the store is away nobody can have deleted it. */
async function answerHeartbeat(deps: StreamDeps, { stream, sandbox, end }: Session): Promise<void> {
  try {
    if ((await deps.store.getSandboxById(sandbox.id)) === null) return end()
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'store_unavailable')) {
      deps.log.warn('supervisor.broke', { sandbox: sandbox.name, error })
      return end()
    }
  }
  send(stream, { case: 'heartbeat', value: {} })
}

function send(stream: Stream, payload: NonNullable<Payload>): void {
  if (stream.writableEnded) return
  stream.write(new EncodedMessage(encodeMessage(GatewayMessageSchema, { payload })))
}

type Payload = MessageInitShape<typeof GatewayMessageSchema>['payload']
