import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf'
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js'

/** A message that was encoded before; sent as it is, so that one encoding serves many receivers. */
export class EncodedMessage {
  readonly bytes: Buffer

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /**
   * The message with more fields of its kind behind it. Protobuf merges them when it is read, so what
   * is the same for all receivers is encoded once.
   */
  with(fields: Uint8Array): EncodedMessage {
    return new EncodedMessage(Buffer.concat([this.bytes, fields]))
  }
}

/** Presents a protobuf-es service to grpc-js. Paths are `/<package>.<Service>/<Method>`. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map(method => [method.localName, methodDefinition(method)]),
  )
}

/** The path of a method on the wire: `/<package>.<Service>/<Method>`. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`
}

/** Encodes a message, given whole or as its initial values. */
export function encodeMessage<Desc extends DescMessage>(
  schema: Desc,
  message: MessageInitShape<Desc>,
): Buffer {
  const bytes = toBinary(schema, create(schema, message))
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function methodDefinition(method: DescMethod): MethodDefinition<object, object> {
  const { input, output } = method
  return {
    path: methodPath(method),
    requestStream:
      method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream:
      method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: message => encodeMessage(input, { ...message }),
    requestDeserialize: bytes => fromBinary(input, bytes),
    responseSerialize: message =>
      message instanceof EncodedMessage ? message.bytes : encodeMessage(output, { ...message }),
    responseDeserialize: bytes => fromBinary(output, bytes),
  }
}
