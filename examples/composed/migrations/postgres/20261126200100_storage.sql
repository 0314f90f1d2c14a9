-- What ent cannot declare and Atlas does not compare: room for new versions of a row on its page, and rows in one piece.
ALTER TABLE "users" SET (fillfactor = 85, toast_tuple_target = 4080);
