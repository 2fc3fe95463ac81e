import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
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
  answer: (request: MessageShape<I>, admin: Admin) => Promise<MessageInitShape<O>>,
): Rpc {
  return unaryRpc(method, async (request, { caller, store }) => {
    const admin = requireAdmin(await caller())
    await requireWorkspace(store, request)
    return answer(request, admin)
  })
}

/** Callers that showed who they are. */
type Admin = Extract<Principal, { kind: 'admin' }>
type Authenticated = Exclude<Principal, { kind: 'open' }>

/** Adds to the audit line of the call under way; what is known early stands in a refused one too. */
export type Note = (note: Partial<Omit<AuditEntry, 'what' | 'who'>>) => void

/** A method by which administrators change something: each call leaves one audit line, refused or not. */
export function changeRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  what: AuditAction,
  answer: (request: MessageShape<I>, note: Note) => Promise<MessageInitShape<O>>,
): Rpc {
  return auditedRpc(method, what, (request, { caller, note }) => {
    requireAdmin(caller)
    return answer(request, note)
  })
}

/**
 * A method by which an administrator changes something, or a sandbox something of its own; which of it
 * a sandbox may change is for the method to judge. Each call leaves one audit line.
 */
export function sharedChangeRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  what: AuditAction,
  answer: (
    request: MessageShape<I>,
    call: { readonly caller: Authenticated; readonly note: Note },
  ) => Promise<MessageInitShape<O>>,
): Rpc {
  return auditedRpc(method, what, (request, { caller, note }) =>
    answer(request, { caller: caller.kind === 'sandbox' ? caller : requireAdmin(caller), note }),
  )
}

function auditedRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  what: AuditAction,
  answer: (
    request: MessageShape<I>,
    call: { readonly caller: Principal; readonly note: Note },
  ) => Promise<MessageInitShape<O>>,
): Rpc {
  return unaryRpc(method, async (request, call) => {
    let entry: AuditEntry = { what, who: 'unknown', outcome: 'done' }
    const note: Note = more => {
      entry = { ...entry, ...more }
    }
    try {
      const caller = await call.caller()
      entry = { ...entry, who: nameOfCaller(caller) }
      // Others are told no more than that they may not call.
      if (caller.kind === 'admin') {
        if ('workspace' in request) note({ workspace: String(request.workspace) })
        await requireWorkspace(call.store, request)
      }
      return await answer(request, { caller, note })
    } catch (error) {
      note(refusalOf(error))
      throw error
    } finally {
      call.audit(entry)
    }
  })
}

/**
 * A method for routers and supervisors: the caller is a sandbox. A request that names a sandbox names
 * the caller itself, or is refused.
 */
export function sandboxRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answer: (
    request: MessageShape<I>,
    sandbox: SandboxRecord,
  ) => Promise<MessageInitShape<O> | EncodedMessage>,
): Rpc {
  return unaryRpc(method, async (request, { caller }) => {
    const sandbox = requireSandbox(await caller())
    if ('sandboxId' in request) requireOwn(sandbox, request.sandboxId)
    return answer(request, sandbox)
  })
}

/**
 * Throws `permission_denied` when a sandbox names another than itself: what is a sandbox's own is not
 * found by guessing ids.
 */
export function requireOwn(sandbox: SandboxRecord, id: unknown): void {
  if (id === sandbox.id) return
  if (id === '') throw new AppError('invalid_argument', 'The id of the sandbox is missing')
  throw new AppError('permission_denied', 'A sandbox may ask for nothing but its own')
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

/** What becomes of the messages that a sandbox streams in; `take` may refuse one. */
interface Sink<I, O> {
  take(message: I): void
  finish(): O
}

/** A stream into the gateway, with one answer at its end, or when the gateway stops. */
export function sandboxInputRpc<I extends DescMessage, O extends DescMessage>(
  method: DescMethodClientStreaming<I, O>,
  stopping: AbortSignal,
  open: (sandbox: SandboxRecord) => Sink<MessageShape<I>, MessageInitShape<O>>,
): Rpc {
  return (server, deps) => {
    const accept: handleClientStreamingCall<MessageShape<I>, MessageInitShape<O>> = (
      call,
      callback,
    ) => {
      const read = async (): Promise<MessageInitShape<O>> => {
        const sink = open(requireSandbox(await callerOf(deps, call.metadata)))
        const over = Promise.withResolvers<void>()
        const end = (): void => over.resolve()
        call.on('data', message => {
          try {
            sink.take(message)
          } catch (error) {
            over.reject(error)
          }
        })
        // A supervisor that leaves is no fault.
        for (const event of ['end', 'cancelled', 'error', 'close']) call.on(event, end)
        stopping.addEventListener('abort', end, { once: true })
        if (stopping.aborted) end()
        await over.promise.finally(() => stopping.removeEventListener('abort', end))
        return sink.finish()
      }
      read().then(
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
      message => encodeMessage(method.output, message),
      bytes => fromBinary(method.input, bytes),
      'clientStream',
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

function requireAdmin(caller: Principal): Admin {
  if (caller.kind === 'admin') return caller
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
    throw new AppError('permission_denied', 'Only a sandbox may call this')
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
