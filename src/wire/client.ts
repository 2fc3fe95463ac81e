import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
} from '@grpc/grpc-js'
import type { Secret } from '../core/secret.ts'
import { fromServiceError } from './errors.ts'
import { encodeMessage, methodPath } from './grpc.ts'

/** The gateway takes messages up to this size. */
export const MESSAGE_BYTES_MAX = 1_048_576

/** Answers may be larger: the status of all providers is one message. */
const ANSWER_BYTES_MAX = 67_108_864

/** How often a connection with calls under way is probed, and how soon it must answer. */
interface Keepalive {
  readonly everyMs: number
  readonly timeoutMs: number
}

const KEEPALIVE: Keepalive = { everyMs: 20_000, timeoutMs: 10_000 }

/** A gateway that stands still is left for another before a token of a minute is due. */
const KEEPALIVE_AMONG_SEVERAL: Keepalive = { everyMs: 3_000, timeoutMs: 2_000 }

/** What a channel needs besides its address. */
export interface ChannelOptions {
  /** Read at each call, so that a token file may be replaced under a running program. */
  readonly token: () => Secret | null
  readonly nowMs: () => number
  /** Trusted besides nothing else, for https; null means the system's roots. */
  readonly caPem: string | null
}

/**
 * A way to a gateway, or to one of several that share a database. It is opened at the first call and
 * again when it was lost; from one that cannot be reached the next call goes to the next.
 */
export interface GatewayChannel extends ChannelOptions {
  /** The connection to the gateway whose turn it is. */
  readonly client: Client
  /** How many gateways there are to go to. */
  readonly endpoints: number
  /** This gateway was not reached: the next one's turn has come, unless it has already. */
  leave(client: Client): void
  /** The next call goes to this gateway. */
  stay(client: Client): void
  close(): void
}

/**
 * Opens a channel to `http://host:port` (h2c) or `https://host:port` (TLS), or to one of several; `first`
 * says with which to begin, so that not all callers begin with the same.
 */
export function openChannel(
  endpoint: URL | readonly [URL, ...URL[]],
  options: ChannelOptions,
  first = 0,
): GatewayChannel {
  const endpoints = endpoint instanceof URL ? [endpoint] : endpoint
  const keepalive = endpoints.length > 1 ? KEEPALIVE_AMONG_SEVERAL : KEEPALIVE
  const clients = endpoints.map(one => openClient(one, options.caPem, keepalive))
  let turn = first % clients.length
  const current = (): Client => {
    const client = clients[turn]
    if (client === undefined) throw new RangeError('A channel has at least one endpoint')
    return client
  }
  return {
    ...options,
    get client() {
      return current()
    },
    endpoints: clients.length,
    leave(client) {
      if (client === current()) turn = (turn + 1) % clients.length
    },
    stay(client) {
      turn = Math.max(0, clients.indexOf(client))
    },
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** Nothing is sent before the first call. */
function openClient(endpoint: URL, caPem: string | null, keepalive: Keepalive): Client {
  return new Client(endpoint.host, channelCredentials(endpoint, caPem), {
    'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
    'grpc.keepalive_time_ms': keepalive.everyMs,
    'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.min_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // A proxy in the environment is for the agent's traffic, never for the gateway's.
    'grpc.enable_http_proxy': 0,
  })
}

/**
 * Waits until one of the channel's gateways is connected, the one whose turn it is first; for a caller
 * whose calls must not be made twice. Of a single gateway the call itself tells whether it is there.
 */
export async function reachGateway(
  channel: GatewayChannel,
  options: { readonly timeoutMs: number },
): Promise<void> {
  if (channel.endpoints === 1) return
  for (let tries = 0; tries < channel.endpoints; tries += 1) {
    const { client } = channel
    const { promise, resolve } = Promise.withResolvers<boolean>()
    client.waitForReady(channel.nowMs() + options.timeoutMs, error => resolve(error === undefined))
    if (await promise) return
    channel.leave(client)
  }
}

/** Calls a unary method. Throws `AppError` with the gateway's own code, message and hint. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  channel: GatewayChannel,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<MessageShape<O>> {
  const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>()
  const { client } = channel
  const call = client.makeUnaryRequest<MessageInitShape<I>, MessageShape<O>>(
    methodPath(method),
    message => encodeMessage(method.input, message),
    bytes => fromBinary(method.output, bytes),
    request,
    callMetadata(channel),
    { deadline: channel.nowMs() + options.timeoutMs },
    (error, response) => {
      options.signal?.removeEventListener('abort', cancel)
      if (error !== null) {
        const refusal = fromServiceError(error)
        if (refusal.code === 'gateway_unreachable' && !options.signal?.aborted)
          channel.leave(client)
        reject(refusal)
      } else if (response === undefined)
        reject(new TypeError('A unary call ended without an answer'))
      else resolve(response)
    },
  )
  const cancel = () => call.cancel()
  options.signal?.addEventListener('abort', cancel, { once: true })
  if (options.signal?.aborted) cancel()
  return promise
}

/** A duplex stream of messages, as grpc-js hands it out. */
export type MessageStream<Request, Response> = ClientDuplexStream<Request, Response>

/** Opens a bidirectional stream without a deadline; cancel it to end it. */
export function openStream<I extends DescMessage, O extends DescMessage>(
  channel: GatewayChannel,
  method: DescMethodBiDiStreaming<I, O>,
): MessageStream<MessageInitShape<I>, MessageShape<O>> {
  return channel.client.makeBidiStreamRequest<MessageInitShape<I>, MessageShape<O>>(
    methodPath(method),
    message => encodeMessage(method.input, message),
    bytes => fromBinary(method.output, bytes),
    callMetadata(channel),
  )
}

function channelCredentials(endpoint: URL, caPem: string | null): ChannelCredentials {
  if (endpoint.protocol === 'http:') return credentials.createInsecure()
  return credentials.createSsl(caPem === null ? null : Buffer.from(caPem))
}

function callMetadata(channel: GatewayChannel): Metadata {
  const metadata = new Metadata()
  const token = channel.token()
  if (token !== null) metadata.set('authorization', `Bearer ${token.reveal()}`)
  return metadata
}
