import { type JsonValue, type Message, toJson } from '@bufbuild/protobuf'
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { toStatus } from '../../src/wire/errors.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Doctor } from '../../src/wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { serviceDefinition } from '../../src/wire/grpc.ts'

/** A call that the gateway got, as protobuf's JSON. */
interface ReceivedCall {
  readonly method: string
  readonly request: JsonValue
  readonly authorization: string
}

/** What the gateway answers to a method, by its local name; it may throw an `AppError`. */
export type Script = Readonly<Record<string, () => object>>

/** A gateway that answers what a test tells it, over real gRPC. */
export interface ScriptedGateway extends AsyncDisposable {
  readonly origin: string
  readonly calls: readonly ReceivedCall[]
  script: Script
}

/** Starts one on a free loopback port. What is not scripted answers UNIMPLEMENTED. */
export async function startScriptedGateway(script: Script = {}): Promise<ScriptedGateway> {
  const server = new Server()
  const calls: ReceivedCall[] = []
  for (const service of [OpenShell, Inference, Delivery, Doctor]) {
    const handlers: UntypedServiceImplementation = {}
    for (const method of service.methods.filter(one => one.methodKind === 'unary')) {
      const handler: handleUnaryCall<Message, object> = (call, respond) => {
        calls.push({
          method: method.name,
          request: toJson(method.input, call.request),
          authorization: String(call.metadata.get('authorization')[0] ?? ''),
        })
        const answer = gateway.script[method.localName]
        if (answer === undefined) {
          respond({ code: 12, details: `${method.name} is not scripted` })
          return
        }
        try {
          respond(null, answer())
        } catch (error) {
          respond(toStatus(error))
        }
      }
      handlers[method.localName] = handler
    }
    server.addService(serviceDefinition(service), handlers)
  }
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  )
  const gateway: ScriptedGateway = {
    origin: `http://127.0.0.1:${await promise}`,
    calls,
    script,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
  return gateway
}
