import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import type {
  handleBidiStreamingCall,
  handleUnaryCall,
  Metadata,
  Server,
  ServerDuplexStream,
} from '@grpc/grpc-js'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { DEFAULT_WORKSPACE } from '../core/workspace.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../system/log.ts'
import { toStatus } from '../wire/errors.ts'
import { EncodedMessage, encodeMessage, methodPath } from '../wire/grpc.ts'
import { type Audit, type AuditAction, type AuditEntry, nameOfCaller, refusalOf } from './audit.ts'
import type { Identity, Principal } from './identity.ts'
import { isName } from './validate.ts'

/** What every call needs of the gateway. */
interface RpcDeps {
  readonly store: Pick<Store, 'getWorkspace'>
  readonly identity: Identity
  readonly log: Log
  readonly audit: Audit
}

/** One method of the gateway, ready to be registered. */
export type Rpc = (server: Server, deps: RpcDeps) => void

/** A method that anyone may call, whatever token they bring. */
export function openRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answer: (request: MessageShape<I>) => Promise<MessageInitShape<O>>,
): Rpc {
  return unaryRpc(method, answer)
}

/** A method by which administrators look at something. What changes anything is a {@link changeRpc}. */
export function adminRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answer: (request: MessageShape<I>) => Promise<MessageInitShape<O>>,
): Rpc {
  return unaryRpc(method, async (request, { caller, store }) => {
    requireAdmin(await caller())
    await requireWorkspace(store, request)
    return answer(request)
  })
}

/** Adds to the audit line of the call under way; what is known early stands in a refused one too. */
export type Note = (note: Partial<Omit<AuditEntry, 'what' | 'who'>>) => void

/** A method by which administrators change something: each call leaves one audit line, refused or not. */
export function changeRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  what: AuditAction,
  answer: (request: MessageShape<I>, note: Note) => Promise<MessageInitShape<O>>,
): Rpc {
  return unaryRpc(method, async (request, { caller, store, audit }) => {
    let entry: AuditEntry = { what, who: 'unknown', outcome: 'done' }
    const note: Note = more => {
      entry = { ...entry, ...more }
    }
    try {
      const principal = await caller()
      entry = { ...entry, who: nameOfCaller(principal) }
      requireAdmin(principal)
      if ('workspace' in request) note({ workspace: String(request.workspace) })
      await requireWorkspace(store, request)
      return await answer(request, note)
    } catch (error) {
      note(refusalOf(error))
      throw error
    } finally {
      audit(entry)
    }
  })
}

/** A method for routers: the caller is a sandbox. */
export function sandboxRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answer: (
    request: MessageShape<I>,
    sandbox: SandboxRecord,
  ) => Promise<MessageInitShape<O> | EncodedMessage>,
): Rpc {
  return unaryRpc(method, async (request, { caller }) =>
    answer(request, requireSandbox(await caller())),
  )
}

/** A sandbox's stream, as grpc-js hands it over; what is written may be encoded already. */
export type SandboxStream<I extends DescMessage> = ServerDuplexStream<
  MessageShape<I>,
  EncodedMessage
>

/** A bidirectional stream for routers. Messages that came before the handler ran are kept for it. */
export function sandboxStreamRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodBiDiStreaming<I, O>,
  serve: (stream: SandboxStream<I>, sandbox: SandboxRecord) => void,
): Rpc {
  return (server, deps) => {
    const accept: handleBidiStreamingCall<MessageShape<I>, EncodedMessage> = stream => {
      const start = async (): Promise<void> => {
        const sandbox = requireSandbox(await callerOf(deps, stream.metadata))
        // A router that left meanwhile has had its last event; nobody would take it off the roster.
        if (!stream.cancelled) serve(stream, sandbox)
      }
      start().catch((error: unknown) => {
        logRefusal(deps.log, methodPath(method), error)
        stream.emit('error', toStatus(error))
      })
    }
    server.register(
      methodPath(method),
      accept,
      message => message.bytes,
      bytes => fromBinary(method.input, bytes),
      'bidi',
    )
  }
}

/** What a method learns of the call besides its request. */
interface Call extends Pick<RpcDeps, 'store' | 'audit'> {
  readonly caller: () => Promise<Principal>
}

function unaryRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answer: (request: MessageShape<I>, call: Call) => Promise<MessageInitShape<O> | EncodedMessage>,
): Rpc {
  return (server, deps) => {
    const accept: handleUnaryCall<MessageShape<I>, MessageInitShape<O> | EncodedMessage> = (
      call,
      callback,
    ) => {
      const caller = () => callerOf(deps, call.metadata)
      const respond = async () => answer(call.request, { ...deps, caller })
      respond().then(
        response => callback(null, response),
        (error: unknown) => {
          logRefusal(deps.log, methodPath(method), error)
          callback(toStatus(error))
        },
      )
    }
    server.register(
      methodPath(method),
      accept,
      message =>
        message instanceof EncodedMessage ? message.bytes : encodeMessage(method.output, message),
      bytes => fromBinary(method.input, bytes),
      'unary',
    )
  }
}

async function callerOf(deps: RpcDeps, metadata: Metadata): Promise<Principal> {
  const [authorization] = metadata.get('authorization')
  return deps.identity.authenticate(authorization === undefined ? null : authorization.toString())
}

function requireAdmin(caller: Principal): void {
  if (caller.kind === 'admin') return
  if (caller.kind === 'sandbox') {
    throw new AppError('permission_denied', 'A sandbox may not administer the gateway')
  }
  throw new AppError('unauthenticated', 'The gateway needs a token', {
    hint: 'The gateway writes it to admin.token in its state folder; pass --token-file',
  })
}

/**
 * Whatever names a workspace names one that exists: an empty answer about one that was misspelt would
 * say nothing.
 */
async function requireWorkspace(store: RpcDeps['store'], request: Message): Promise<void> {
  const workspace = 'workspace' in request ? request.workspace : ''
  // What is no name at all is for the method to refuse.
  if (typeof workspace !== 'string' || !isName(workspace)) return
  if (workspace === DEFAULT_WORKSPACE) return
  if ((await store.getWorkspace(workspace)) !== null) return
  throw new AppError('not_found', `Workspace "${workspace}" does not exist`, {
    hint: `See 'openshell workspace list', or make it with 'openshell workspace create ${workspace}'`,
  })
}

function requireSandbox(caller: Principal): SandboxRecord {
  if (caller.kind === 'sandbox') return caller.sandbox
  if (caller.kind === 'admin') {
    throw new AppError('permission_denied', 'Only a sandbox may fetch a bundle')
  }
  throw new AppError('unauthenticated', 'The gateway needs a sandbox token')
}

/** A refusal is the caller's business and told to the caller; an unexpected error is ours. */
function logRefusal(log: Log, rpc: string, error: unknown): void {
  if (error instanceof AppError && error.code !== 'internal') {
    log.info('rpc.refused', { rpc, code: error.code, message: error.message })
  } else {
    log.error('rpc.broke', { rpc, error })
  }
}
