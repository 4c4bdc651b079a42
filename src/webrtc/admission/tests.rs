mod flood;
mod table;
