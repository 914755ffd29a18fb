/**
 * What the control API offers: every call with what goes in and what comes out, and the topics of its event stream. The
 * interface shares these types. Imports nothing. Times are ms since the epoch, sizes are bytes.
 */

/** Method and path → query, body and answer. Parts of a path in braces are given by name. */
export interface ControlApi {
  // Who calls: exchanged for a token that the other calls want as `Authorization: Bearer`
  /** With the secret of a link (good once), or with the account of somebody who runs the server. */
  'POST /session': { body: { link: string } | { username: string; password: string }; answer: { token: string } };
  'DELETE /session': { answer: Empty };
  /** A new link to the interface, good once. Only for programs that hold the token in the data directory. */
  'POST /links': { answer: { link: string } };

  // The house
  'GET /status': { answer: Status };
  'GET /history': { query: { hours: number }; answer: History };
  'POST /server/pause': { answer: Status };
  'POST /server/resume': { answer: Status };
  'POST /server/restart': { answer: Status };
  /** From the shell: the machine woke up, or its network changed. */
  'POST /server/wake': { answer: Status };
  'GET /about': { answer: About };
  'GET /problems': { answer: { problems: Problem[] } };
  'POST /problems/{problemId}/dismiss': { answer: Empty };
  'GET /logs': { query: { before?: string; limit?: number; level?: LogLevel; text?: string }; answer: LogPage };

  // Setup
  'GET /setup': { answer: Setup };
  /** What is wrong with a name, while it is typed. Asks DNS, changes nothing. */
  'POST /setup/check-name': { body: { reach: Reach; serverName: string }; answer: NameCheck };
  'PUT /setup': { body: SetupDraft; answer: Setup };
  'POST /setup/check-account': { body: { username: string; password?: string }; answer: { problems: FieldProblem[] } };
  /** Makes the server and its first account: the last step. */
  'POST /setup/finish': { body: { username: string; password: string; displayName?: string }; answer: SetupDone };
  /** How apps and further devices get to a server that is set up. */
  'GET /connect': { answer: Connect };

  // The way to this server
  /** Where a server that is set up is reached from now on; its name stays. `GET /setup` has what holds now. */
  'PUT /reach': { body: ReachChange; answer: Changed };
  'GET /delegation': { answer: Delegation };
  'POST /doctor': { body: { serverName?: string }; answer: Started };
  /** `last`: the last finished look at our own server. `latest`: the look, at any server, that is under way or was since the start. */
  'GET /doctor': { answer: { last?: DoctorReport; latest?: DoctorReport } };

  // People
  'GET /people': {
    query: { kind?: PersonKind; search?: string; deactivated?: boolean; from?: number; limit?: number };
    answer: PeoplePage;
  };
  'GET /people/{userId}': { answer: PersonDetails };
  'POST /people/{userId}/password': { body: { password: string; signOut: boolean }; answer: Empty };
  'POST /people/{userId}/deactivate': { body: { erase: boolean }; answer: Empty };
  'PUT /people/{userId}/admin': { body: { admin: boolean }; answer: Empty };
  'PUT /people/{userId}/locked': { body: { locked: boolean }; answer: Empty };
  'DELETE /people/{userId}/devices/{deviceId}': { answer: Empty };
  'GET /invitations': { answer: { invitations: Invitation[] } };
  'POST /invitations': { body: { note?: string; uses?: number; expiresAt?: number }; answer: Invitation };
  'DELETE /invitations/{token}': { answer: Empty };

  // Rooms
  'GET /rooms': { query: { search?: string; order?: RoomOrder; from?: number; limit?: number }; answer: RoomPage };
  'GET /rooms/{roomId}': { answer: RoomDetails };
  /** Everybody of this server leaves. */
  'POST /rooms/{roomId}/leave': { answer: Started };
  /** Everybody leaves, and all that is stored of the room goes. */
  'POST /rooms/{roomId}/purge': { answer: Started };
  'PUT /rooms/{roomId}/blocked': { body: { blocked: boolean }; answer: Empty };
  /** Invites from people of other servers that wait for an answer. */
  'GET /stranger-invites': { answer: { invites: StrangerInvite[] } };
  'POST /stranger-invites/decline': { body: { userId: string; roomId: string }; answer: Empty };

  // Media
  'GET /media': { query: MediaQuery; answer: MediaPage };
  'GET /media/summary': { answer: MediaSummary };
  'POST /media/remove': { body: { media: MediaAddress[] }; answer: { removed: number; bytes: number } };
  'POST /media/purge-remote': { body: { unusedForDays: number }; answer: Started };

  // Who may come
  'GET /registration': { answer: Registration };
  'PUT /registration': { body: { mode: RegistrationMode }; answer: Changed };

  // Calls
  'GET /calls': { answer: Calls };
  'PUT /calls': { body: CallSettings; answer: Changed };
  'POST /calls/credentials': { answer: { username: string; password: string; ttlSeconds: number; uris: string[] } };
  'POST /calls/test': { answer: Started };

  // Settings
  'GET /settings': { answer: Settings };
  /** `was`: what each was believed to be. Where it is something else by now, nothing is changed (409, with the `field`). */
  'PUT /settings': {
    body: { values: Record<string, SettingValue>; was?: Record<string, SettingValue> };
    answer: Changed;
  };

  // Backups
  'GET /backups': { answer: Backups };
  'PUT /backups/schedule': { body: BackupSchedule; answer: Backups };
  'POST /backups': { body: { passphrase?: string; media: boolean }; answer: Started };
  'DELETE /backups/{name}': { answer: Empty };
  'POST /backups/{name}/verify': { body: { passphrase: string }; answer: Started };
  /** Replaces what is here; only while the server is not set up, or with `replace`. */
  'POST /restore': { body: { path: string; passphrase: string; replace: boolean }; answer: Started };
  'GET /recovery-sheet': { answer: RecoverySheet };

  // Long work
  'GET /jobs': { answer: { jobs: Job[] } };
  'POST /jobs/{jobId}/cancel': { answer: Empty };
}

export type Empty = Record<string, never>;
/** Long work has begun; its job tells how it goes. */
export interface Started {
  jobId: string;
}
export interface Changed {
  needsRestart: boolean;
}

/** A refusal, as Matrix APIs give it: `errcode` for programs, `error` for people, `field` where one is at fault. */
export interface ControlError {
  errcode: string;
  error: string;
  field?: string;
}
export interface FieldProblem {
  field: string;
  message: string;
}

/** The event stream (`GET /events`): names what moved; `job` carries the job. */
export type Topic = 'status' | 'people' | 'rooms' | 'media' | 'settings' | 'backups' | 'problems' | 'doctor' | 'setup';
export type ServerSentEvent = { topic: Topic } | { topic: 'job'; job: Job };

/** `network-only` is meant to be reached at home; `unreachable` is meant to be reached from outside and is not. */
export type StatusLine =
  | 'setup'
  | 'starting'
  | 'online'
  | 'network-only'
  | 'unreachable'
  | 'catching-up'
  | 'paused'
  | 'needs-you'
  | 'failed';
export interface Reason {
  kind: string;
  text: string;
  nextStep?: string;
  page?: string;
}

export interface Status {
  line: StatusLine;
  /** What the line rests on, the most important first. */
  reasons: Reason[];
  serverName?: string;
  /** What clients are given as homeserver. */
  clientUrl?: string;
  startedAt?: number;
  version: string;
  counts: { people: number; devices: number; rooms: number; messagesToday: number };
  memory: { residentBytes: number };
  disk: {
    databaseBytes: number;
    localMediaBytes: number;
    remoteMediaBytes: number;
    backupBytes: number;
    freeBytes: number;
  };
  certificate?: { subject: string; expiresAt: number };
  /** Something was changed in the configuration that only counts after a restart. */
  restartDue?: boolean;
  federation: { servers: RemoteServer[]; queued: number; failing: number; catchingUpRooms: number };
}
export interface RemoteServer {
  name: string;
  state: 'well' | 'failing' | 'waiting';
  lastContactAt?: number;
  retryAt?: number;
  queued: number;
  reason?: string;
}
/** One value an hour, the oldest first; the last hour is the present one. */
export interface History {
  startsAt: number;
  messages: number[];
  activePeople: number[];
  residentBytes: number[];
}
export interface About {
  version: string;
  node: string;
  platform: string;
  dataDirectory: string;
  configFile: string;
  specVersions: string[];
  roomVersions: string[];
}
export interface Problem {
  id: string;
  at: number;
  count: number;
  text: string;
  nextStep?: string;
  page?: string;
  detail: string;
}
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export interface LogLine {
  at: number;
  level: LogLevel;
  text: string;
  data: Record<string, unknown>;
}
export interface LogPage {
  /** The newest first. There may be none on a page, and still more before it. */
  lines: LogLine[];
  /** For the next page; lacking where the log begins. */
  before?: string;
}

export type Reach = 'home' | 'domain' | 'proxy';
export interface SetupDraft {
  reach: Reach;
  serverName: string;
  /** Where clients find it, if that is not the server name. */
  publicUrl?: string;
  dataDirectory?: string;
  /** Files in PEM format, where this server is to speak TLS itself. */
  certificatePath?: string;
  privateKeyPath?: string;
}
export type ReachChange = Omit<SetupDraft, 'serverName' | 'dataDirectory'>;
export interface Setup {
  isDone: boolean;
  nameIsFinal: boolean;
  draft: SetupDraft;
  suggestions: { homeName: string; addresses: string[] };
  usernameRules: string;
}
export interface NameCheck {
  verdict: 'good' | 'warning' | 'refused';
  findings: Finding[];
}
export interface SetupDone {
  serverName: string;
  userId: string;
  clientUrl: string;
}
export interface Connect {
  serverName: string;
  /** What to give apps as homeserver. */
  clientUrl: string;
  /** Of the only person here, while there is one. */
  userId?: string;
  /** What the code holds, and what somebody can do with it. */
  qr: { value: string; about: string };
  /** What has to be so for apps to get here. */
  notes: Reason[];
  clients: ClientSteps[];
}
export interface ClientSteps {
  name: string;
  platforms: string[];
  steps: string[];
  link?: string;
}

export interface Snippet {
  id: string;
  title: string;
  where: string;
  language: string;
  text: string;
}
export interface Delegation {
  serverName: string;
  wellKnownServer: string;
  wellKnownClient: string;
  /** Who answers with the two files: this server itself; the proxy with its text; or whatever serves the name. */
  filesFrom: 'hearth' | 'proxy' | 'elsewhere';
  records: { type: string; name: string; value: string; why: string }[];
  ports: { port: number; protocol: string; to: string; why: string }[];
  snippets: Snippet[];
}
export type Verdict = 'good' | 'warning' | 'bad' | 'skipped';
/** One thing that was looked at: a plain sentence, and a next step where it is not well. */
export interface Finding {
  id: string;
  title: string;
  verdict: Verdict;
  text: string;
  nextStep?: string;
  details?: string[];
}
export interface DoctorReport {
  serverName: string;
  startedAt: number;
  endedAt?: number;
  verdict: Verdict;
  summary: string;
  findings: Finding[];
}

/** `bridged` are those that an application service made: bots, and people of another network. */
export type PersonKind = 'person' | 'guest' | 'bridged';
export interface PeoplePage {
  people: Person[];
  total: number;
  next?: number;
  /** How many there are of each kind, closed accounts apart. */
  counts: Record<PersonKind, number>;
}
export interface Person {
  userId: string;
  displayName?: string;
  avatar?: string;
  isAdmin: boolean;
  isLocked: boolean;
  isDeactivated: boolean;
  isGuest: boolean;
  /** The application service that made the account. */
  appservice?: string;
  createdAt: number;
  lastSeenAt?: number;
  devices: number;
  mediaBytes: number;
}
export interface Device {
  deviceId: string;
  name?: string;
  lastSeenAt?: number;
  lastSeenIp?: string;
  userAgent?: string;
}
export interface PersonDetails extends Person {
  devicesList: Device[];
  rooms: number;
}
export interface Invitation {
  token: string;
  note?: string;
  link: string;
  usesLeft?: number;
  used: number;
  expiresAt?: number;
  createdAt: number;
}

export type RoomOrder = 'name' | 'size' | 'members' | 'activity';
export interface RoomSummary {
  roomId: string;
  name: string;
  alias?: string;
  localMembers: number;
  members: number;
  isEncrypted: boolean;
  isDirect: boolean;
  /** It holds other rooms. */
  isSpace?: boolean;
  isBlocked: boolean;
  /** Empty for a room that is only known as blocked. */
  version: string;
  bytes: number;
  lastActivityAt?: number;
}
export interface RoomPage {
  rooms: RoomSummary[];
  total: number;
  next?: number;
}
export interface RoomDetails extends RoomSummary {
  topic?: string;
  membersList: { userId: string; displayName?: string; membership: string; powerLevel: number }[];
  servers: string[];
  events: number;
  stateEvents: number;
}
export interface StrangerInvite {
  userId: string;
  roomId: string;
  roomName?: string;
  sender: string;
  senderName?: string;
  at: number;
}

export interface MediaAddress {
  origin: string;
  mediaId: string;
}
export interface MediaQuery {
  origin?: 'local' | 'remote';
  order?: 'size' | 'age' | 'access';
  from?: number;
  limit?: number;
}
export interface MediaItem extends MediaAddress {
  name?: string;
  type: string;
  bytes: number;
  uploadedBy?: string;
  createdAt: number;
  lastAccessAt?: number;
  isQuarantined: boolean;
  isProtected: boolean;
  /** Of a person of this server or a room, by whom or by which it is shown as their picture. */
  pictureOf?: string;
}
export interface MediaPage {
  media: MediaItem[];
  total: number;
  next?: number;
}
export interface MediaSummary {
  local: { files: number; bytes: number };
  remote: { files: number; bytes: number; capBytes?: number };
  thumbnails: { files: number; bytes: number };
  freeBytes: number;
}

export type RegistrationMode = 'closed' | 'invitation' | 'open';
export interface Registration {
  mode: RegistrationMode;
  /** What holds until the next start, where that is something else: closing counts at once, opening from then on. */
  until?: RegistrationMode;
  openIsSafe: boolean;
  reasons: string[];
}

export interface CallSettings {
  uris: string[];
  sharedSecret?: string;
  username?: string;
  password?: string;
  lifetimeSeconds: number;
  allowGuests: boolean;
}
export interface Calls {
  settings: Omit<CallSettings, 'sharedSecret' | 'password'> & { hasSharedSecret: boolean; hasPassword: boolean };
  last?: DoctorReport;
}

export type SettingValue = string | number | boolean | string[] | null;
export interface Setting {
  path: string;
  group: string;
  title: string;
  help: string;
  kind: 'text' | 'number' | 'bytes' | 'duration' | 'switch' | 'choice' | 'list' | 'secret';
  choices?: { value: string; title: string }[];
  /** What no limit is called, where that can be chosen; its value is `never`. */
  never?: string;
  value: SettingValue;
  default: SettingValue;
  isSet: boolean;
  needsRestart: boolean;
  problem?: string;
  /** It has no default that it could be put back to. */
  isRequired?: boolean;
  /** Hardly anybody needs it. */
  isRare?: boolean;
}
export interface Settings {
  file: string;
  settings: Setting[];
  /** What keeps the file from being used, with lines; then it cannot be changed here. */
  problems: string[];
  /** The file says something that the running homeserver was not started with. */
  restartDue: boolean;
}

export interface BackupSchedule {
  every: 'never' | 'day' | 'week';
  atHour: number;
  keep: number;
  media: boolean;
  directory?: string;
  /** The folder is the one that is meant, though nothing in it says so. */
  isChosenAnew?: boolean;
  /** Kept so that backups can be made while nobody is there. */
  passphrase?: string;
  /** Printed on the recovery sheet. */
  passphraseHint?: string;
}
export interface BackupFile {
  name: string;
  path: string;
  bytes: number;
  madeAt: number;
  serverName?: string;
  isVerified: boolean;
}
export interface Backups {
  directory: string;
  schedule: Omit<BackupSchedule, 'passphrase' | 'isChosenAnew'> & { hasPassphrase: boolean; nextAt?: number };
  backups: BackupFile[];
  freeBytes: number;
  estimateBytes: number;
  /** Of the schedule; gone after the next one that goes well. */
  lastFailure?: { at: number; error: string };
  /** Why the folder cannot be used at the moment; then nothing is known of what is in it. */
  problem?: string;
  /** Nothing in the folder says that it is the one that was chosen; it can be chosen anew. */
  isUnknownFolder?: boolean;
}
/** The result of the job of a restoration. */
export interface RestoreResult {
  serverName: string;
  /** When the backup was made. */
  madeAt: number;
  /** The folder that holds what was there before, if anything was. */
  kept?: string;
  hasMedia: boolean;
  isRunning: boolean;
}
/** The result of the job of a backup. */
export interface BackupResult {
  name: string;
  path: string;
  bytes: number;
  files: number;
  /** Media that the database knows of but that are gone from the disk, or are not what they were. */
  missingMedia: number;
  damagedMedia: number;
}
export interface RecoverySheet {
  serverName: string;
  signingKey: string;
  keyId: string;
  /** What the file of the key is called in the data directory of a server of this name. */
  keyFile: string;
  passphraseHint?: string;
  madeAt: number;
  html: string;
}

export type JobState = 'running' | 'done' | 'failed' | 'cancelled';
export interface Job {
  id: string;
  kind: 'backup' | 'verify' | 'restore' | 'purge' | 'leave' | 'doctor' | 'turn' | 'media';
  title: string;
  state: JobState;
  startedAt: number;
  endedAt?: number /** 0 to 1; undefined while it cannot be told. */;
  progress?: number;
  step?: string;
  canCancel: boolean;
  error?: ControlError;
  result?: unknown;
}

export type CallName = keyof ControlApi;
/** What a call takes in its body and in its query, and what it answers. */
export type BodyOf<C extends CallName> = ControlApi[C] extends { body: infer B } ? B : undefined;
export type QueryOf<C extends CallName> = ControlApi[C] extends { query: infer Q } ? Q : undefined;
export type AnswerOf<C extends CallName> = ControlApi[C] extends { answer: infer A } ? A : never;
