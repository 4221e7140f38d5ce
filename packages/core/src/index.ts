// The protocol surface of core, in reading order. Runtime, packets, addresses, the test kit and the hands have subpaths of their own.

export {
  type ChannelChange,
  ChannelSelector,
  type ChannelSelectorOptions,
  type DatagramEvent,
  type SelectorState,
  selectorTransitions,
} from './protocol/channel-selector.ts'
// Login
export {
  ClientLogin,
  type ClientLoginOptions,
  type ClientLoginOutput,
  DEFAULT_USER_AGENT,
} from './protocol/client-login.ts'
export { ClientSession } from './protocol/client-session.ts'
export {
  type CertificateIdentityField,
  type CredentialsAnswer,
  type CredentialsCheck,
  certificateUsername,
  isTokenText,
  isUsername,
  type LoginIdentity,
  type LoginMethod,
  type PeerCertificate,
} from './protocol/credentials.ts'
export {
  type ClientDeparture,
  ClientReason,
  closeText,
  readClientDeparture,
  readGatewayReason,
  writeClientReason,
  writeGatewayReason,
} from './protocol/disconnect-reason.ts'
export { CoreError, type CoreErrorCode } from './protocol/errors.ts'
export type {
  ActiveChannel,
  ChannelKind,
  ClientSessionOutput,
  CloseReason,
  DatagramLoss,
  FailoverReason,
  ReconnectFailure,
  SessionOutput,
  SessionStats,
  StreamLoss,
  TrafficCount,
} from './protocol/events.ts'
export { type FormAnswers, FormFiller, type KnownAnswers } from './protocol/form-answers.ts'
export {
  DATAGRAM_FRAME_HEADER_BYTES,
  datagramFramePayload,
  encodeDatagramFrame,
  encodeStreamFrame,
  FrameType,
  isControlFrame,
  MAX_STREAM_PAYLOAD_BYTES,
  STREAM_FRAME_HEADER_BYTES,
  unwrapDatagramFrames,
  wrapDatagramFrames,
  wrapStreamFrames,
} from './protocol/frame.ts'
export {
  GatewayLogin,
  type GatewayLoginCounter,
  type GatewayLoginOutput,
  gatewayLoginCounters,
  type LoginHttpRequest,
  type LoginRejection,
} from './protocol/gateway-login.ts'
export {
  defaultGatewayLoginOptions,
  type GatewayLoginOptions,
  type LoginGroup,
} from './protocol/gateway-login-options.ts'
export { GatewaySession } from './protocol/gateway-session.ts'
export {
  type HeaderLines,
  type HttpReply,
  type HttpRequest,
  headerValue,
  headerValues,
} from './protocol/http-message.ts'
export { Liveness, type LivenessOptions, type LivenessOutput, type QuickWatchOptions } from './protocol/liveness.ts'
export type { LoginField, LoginForm, LoginOption } from './protocol/login-form.ts'
export {
  clampTunnelMtu,
  type DatagramMtuInput,
  datagramTunnelMtu,
  maxDatagramPayload,
  minTunnelMtu,
  RecordOverhead,
} from './protocol/mtu.ts'
export { PathMtu, type PathMtuOutput } from './protocol/path-mtu.ts'
export { RoundTrip } from './protocol/round-trip.ts'
export { Session } from './protocol/session.ts'
export { type ClientSessionOptions, defaultQuickWatch, type GatewaySessionOptions } from './protocol/session-options.ts'
// Sessions
export {
  type ConnectedSession,
  defaultSessionRegistryLimits,
  type OpenedSession,
  type RefusedSession,
  type SessionEndReason,
  type SessionRecord,
  SessionRegistry,
  type SessionRegistryLimits,
  type SessionRegistryOptions,
  type SessionRegistryOutput,
} from './protocol/session-registry.ts'
export type { SessionTraffic } from './protocol/session-traffic.ts'
export {
  type DeframerStep,
  StreamDeframer,
  type StreamDeframerOptions,
  type StreamViolation,
} from './protocol/stream-deframer.ts'
export { TokenBucket } from './protocol/token-bucket.ts'
export type {
  ChannelTimers,
  DatagramOffer,
  RekeyMethod,
  TunnelParameters,
  WebProxy,
} from './protocol/tunnel-parameters.ts'
// Negotiation
export { readTunnelReply, writeTunnelReply } from './protocol/tunnel-reply.ts'
export {
  type DatagramWish,
  type DeviceClaims,
  PSK_NEGOTIATE,
  readTunnelRequest,
  TUNNEL_PATH,
  type TunnelRequest,
  tunnelCookie,
  wantsPsk,
  writeTunnelRequest,
} from './protocol/tunnel-request.ts'
export type { TunnelSession } from './protocol/tunnel-session.ts'
export type { XmlElement } from './protocol/xml.ts'
