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

/** What a channel needs besides its address. */
export interface ChannelOptions {
  /** Read at each call, so that a token file may be replaced under a running program. */
  readonly token: () => Secret | null
  readonly nowMs: () => number
  /** Trusted besides nothing else, for https; null means the system's roots. */
  readonly caPem: string | null
}

/** A connection to one gateway, opened at the first call and again when it was lost. */
export interface GatewayChannel extends ChannelOptions {
  readonly client: Client
  close(): void
}

/** Opens a channel to `http://host:port` (h2c) or `https://host:port` (TLS). */
export function openChannel(endpoint: URL, options: ChannelOptions): GatewayChannel {
  const client = new Client(endpoint.host, channelCredentials(endpoint, options.caPem), {
    'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.min_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // A proxy in the environment is for the agent's traffic, never for the gateway's.
    'grpc.enable_http_proxy': 0,
  })
  return { ...options, client, close: () => client.close() }
}

/** Calls a unary method. Throws `AppError` with the gateway's own code, message and hint. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  channel: GatewayChannel,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<MessageShape<O>> {
  const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>()
  const call = channel.client.makeUnaryRequest<MessageInitShape<I>, MessageShape<O>>(
    methodPath(method),
    message => encodeMessage(method.input, message),
    bytes => fromBinary(method.output, bytes),
    request,
    callMetadata(channel),
    { deadline: channel.nowMs() + options.timeoutMs },
    (error, response) => {
      options.signal?.removeEventListener('abort', cancel)
      if (error !== null) reject(fromServiceError(error))
      else if (response === undefined) reject(new TypeError('A unary call ended without an answer'))
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
