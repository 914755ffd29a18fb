// Opens the database it is given and says how that went.
import { openDatabase } from '../../server/storage/database.ts';
import { StorageError } from '../../server/storage/storage-error.ts';
import { silentLogger } from '../../server/util/log.ts';
import { notes } from './temporary.ts';

try {
  const db = openDatabase({ path: process.argv[2] ?? '', migrations: [notes], log: silentLogger });
  await db.close();
  console.log('opened');
} catch (error) {
  console.log(error instanceof StorageError ? error.kind : error);
}
